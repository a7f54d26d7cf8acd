"""Gated recurrent cells for Keras 3 that can be checked, opened and shipped."""

from keras_gates._version import __version__
from keras_gates.cell import GatedCell, cells
from keras_gates.gru import GRUCell
from keras_gates.layers import GRU, LSTM, CoupledLSTM, PeepholeLSTM, PeepholeOnlyLSTM, SimpleRNN, layer_of
from keras_gates.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell, PeepholeOnlyLSTMCell
from keras_gates.rnn import RNN
from keras_gates.saved_model import export, load
from keras_gates.simple import SimpleRNNCell
from keras_gates.wrappers import ResidualCell, WrapperCell

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CoupledLSTM",
    "CoupledLSTMCell",
    "GRUCell",
    "GatedCell",
    "LSTMCell",
    "PeepholeLSTM",
    "PeepholeLSTMCell",
    "PeepholeOnlyLSTM",
    "PeepholeOnlyLSTMCell",
    "ResidualCell",
    "SimpleRNN",
    "SimpleRNNCell",
    "WrapperCell",
    "__version__",
    "cells",
    "export",
    "layer_of",
    "load",
]
