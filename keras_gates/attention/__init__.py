"""Attention over a memory, and the cells that use it in every step."""

from keras_gates.attention.base import Attention
from keras_gates.attention.cells import AttentionCell, BahdanauCell, LuongCell
from keras_gates.attention.scores import (
    ATTENTIONS,
    AdditiveAttention,
    DotAttention,
    GeneralAttention,
    ScoredAttention,
    align,
)

__all__ = [
    "ATTENTIONS",
    "AdditiveAttention",
    "Attention",
    "AttentionCell",
    "BahdanauCell",
    "DotAttention",
    "GeneralAttention",
    "LuongCell",
    "ScoredAttention",
    "align",
]
