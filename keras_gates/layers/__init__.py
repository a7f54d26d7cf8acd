"""Layers that take sequences: `RNN`, a named layer for every cell, and pooling over time."""

from keras_gates.layers.by_name import CellLayer, layer_of
from keras_gates.layers.rnn import RNN

__all__ = ["RNN", "CellLayer", "layer_of"]
