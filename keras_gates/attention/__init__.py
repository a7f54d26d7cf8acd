"""Attention over a memory or a picture, and the cells that use it in every step."""

from keras_gates.attention.affine import AffineAttention
from keras_gates.attention.base import Attention
from keras_gates.attention.cells import AttentionCell, BahdanauCell, GravesCell, LuongCell
from keras_gates.attention.draw import CanvasCell, DrawAttention
from keras_gates.attention.draw_cell import DrawCell
from keras_gates.attention.retina import GlimpseCell, ReinforceLoss, RetinaAttention
from keras_gates.attention.scores import (
    ATTENTIONS,
    AdditiveAttention,
    DotAttention,
    GeneralAttention,
    ScoredAttention,
    align,
)
from keras_gates.attention.window import SoftWindow

__all__ = [
    "ATTENTIONS",
    "AdditiveAttention",
    "AffineAttention",
    "Attention",
    "AttentionCell",
    "BahdanauCell",
    "CanvasCell",
    "DotAttention",
    "DrawAttention",
    "DrawCell",
    "GeneralAttention",
    "GlimpseCell",
    "GravesCell",
    "LuongCell",
    "ReinforceLoss",
    "RetinaAttention",
    "ScoredAttention",
    "SoftWindow",
    "align",
]
