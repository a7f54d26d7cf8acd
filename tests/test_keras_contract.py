"""What keras_gates needs of Keras beyond its documented interface, and what to do when a test fails."""

import keras
import numpy as np

from keras_gates import LSTMCell
from keras_gates.cells.base import DropoutRNNCell


def test_stock_rnn_holds_the_dropout_masks_of_our_cells():
    """Stock `keras.layers.RNN` draws the masks of cells derived from Keras' DropoutRNNCell before its loop.

    If this fails, Keras has changed how `RNN.call` recognises such cells (`_maybe_config_dropout_masks`):
    find the new protocol there, let `keras_gates.cells.base._find_dropout_protocol` return its class, and
    give `GatedCell` and the wrappers the methods that it asks for.
    """
    drawn = []

    class Watched(LSTMCell):
        def _create_dropout_mask(self, step_input, dropout_rate):
            drawn.append(dropout_rate)
            return super()._create_dropout_mask(step_input, dropout_rate)

    assert issubclass(Watched, DropoutRNNCell)
    layer = keras.layers.RNN(Watched(4, dropout=0.25, recurrent_dropout=0.5))
    layer(np.ones((2, 5, 3), "float32"), training=True)
    assert drawn == [0.25, 0.5], "each mask is drawn once per sequence, not once per step"
    layer(np.ones((2, 5, 3), "float32"), training=True)
    assert drawn == [0.25, 0.5] * 2, "the masks are cleared after a sequence"


def test_rnn_arguments_are_those_the_layers_by_name_pass_on():
    """If this fails, Keras gave `keras.layers.RNN` other arguments.

    The layers by name read them off its signature, so they work unchanged; regenerate `layers/by_name.pyi`
    (`python -m keras_gates._stub`) and correct this list.
    """
    from keras_gates.layers.by_name import arguments_of_rnn

    assert list(arguments_of_rnn()) == [
        "return_sequences",
        "return_state",
        "go_backwards",
        "stateful",
        "unroll",
        "zero_output_for_mask",
    ]


def test_a_layer_tells_its_own_layers():
    """If this fails, `keras.layers.Layer._flatten_layers` has gone: `keras_gates.opened.places` uses it to
    find recurrent layers inside layers that are no models; give `_children` there another way."""
    wrapper = keras.layers.TimeDistributed(keras.layers.LSTM(2))
    assert list(wrapper._flatten_layers(include_self=False, recursive=False)) == [wrapper.layer]


def test_an_rnn_runs_the_loop_of_its_instance():
    """If this fails, `keras.layers.RNN.call` no longer reaches `self.inner_loop` with these arguments.

    `keras_gates.introspect.recording.recording` stands in for it, and `keras_gates.RNN` overrides it.
    """
    seen = {}

    def loop(**arguments):
        seen.update(arguments)
        return keras.ops.zeros((2, 4)), keras.ops.zeros((2, 5, 4)), arguments["initial_state"]

    for layer in (keras.layers.RNN(LSTMCell(4)), keras.layers.LSTM(4), keras.layers.GRU(4)):
        vars(layer)["inner_loop"] = loop
        layer(np.ones((2, 5, 3), "float32"))
        assert set(seen) == {"sequences", "initial_state", "mask", "training"}
