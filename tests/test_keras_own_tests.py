"""Keras' own unit tests of recurrent layers, with the classes of this package in the place of Keras'.

They are part of Keras' package, beside the layers they test, and are run from there.
"""

import importlib
import unittest

import keras
import pytest

import keras_gates

HERE = keras.layers.LSTM.__module__.rpartition(".")[0]
FILES = (
    "lstm_test", "gru_test", "simple_rnn_test", "rnn_test", "stacked_rnn_cells_test", "bidirectional_test",
    "time_distributed_test",
)  # fmt: skip
REPLACED = ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "RNN")
# They read how Keras decides on its cuDNN path, which the layers of this package do not have.
OF_CUDNN = ("test_keeps_use_cudnn", "test_fused_lstm_eligibility", "test_fused_gru_eligibility")


class Layers:
    """`keras.layers` as a test sees it."""

    def __init__(self, of_keras):
        self._of_keras = of_keras

    def __getattr__(self, name):
        return getattr(keras_gates if name in REPLACED else self._of_keras, name)


def collect(file):
    """The test cases of a file of Keras, by a name that says where they are from."""
    module = importlib.import_module(f"{HERE}.{file}")
    module.layers = Layers(module.layers)
    for name, case in vars(module).items():
        if isinstance(case, type) and issubclass(case, unittest.TestCase):
            for test in OF_CUDNN:
                if hasattr(case, test):
                    setattr(case, test, pytest.mark.skip(reason="of Keras' cuDNN path")(getattr(case, test)))
            yield f"{name}_of_{file}", case


for _file in FILES:
    globals().update(collect(_file))


def test_the_classes_are_replaced():
    seen = Layers(keras.layers)
    assert all(getattr(seen, name) is getattr(keras_gates, name) for name in REPLACED)
    assert seen.Bidirectional is keras.layers.Bidirectional
    assert sum(name.rpartition("_of_")[2] in FILES for name in globals()) == len(FILES)
