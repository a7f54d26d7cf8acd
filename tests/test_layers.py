"""The layers by name: one mechanism, so one table."""

import inspect
import pickle

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates import _stub, cell_classes, layer_of
from keras_gates._arguments import arguments_of

LAYERS = {
    name: getattr(keras_gates, cell.__name__.removesuffix("Cell"))
    for name, cell in cell_classes().items()
    if hasattr(keras_gates, cell.__name__.removesuffix("Cell"))
}
x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype("float32")


@pytest.mark.parametrize("name", LAYERS)
def test_is_rnn_of_its_cell(name):
    layer = LAYERS[name](4, return_sequences=True, return_state=True, seed=1)
    plain = keras.layers.RNN(cell_classes()[name](4), return_sequences=True, return_state=True)
    layer.build(x.shape)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    for ours, theirs in zip(layer(x), plain(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", LAYERS)
def test_config_is_flat_and_complete(name):
    layer = LAYERS[name](
        4, return_sequences=True, dropout=0.2, activation="relu", dtype="float64", name="one"
    )
    config = layer.get_config()
    assert "cell" not in config
    assert (
        config["units"] == 4
        and config["dropout"] == 0.2
        and config["return_sequences"]
        and config["name"] == "one"
    )
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert again.cell.compute_dtype == again.compute_dtype == "float64"


@pytest.mark.parametrize("name", LAYERS)
def test_help_shows_the_arguments_of_cell_and_rnn(name):
    shown = inspect.signature(LAYERS[name]).parameters
    assert {*arguments_of(cell_classes()[name]), "return_sequences", "stateful"} <= set(shown)
    for unused in cell_classes()[name].without:
        assert unused not in shown
        with pytest.raises(TypeError, match=unused):
            LAYERS[name](4, **{unused: True})


@pytest.mark.parametrize("name", LAYERS)
def test_bidirectional_makes_two_of_itself(name):
    both = keras.layers.Bidirectional(LAYERS[name](4, kernel_regularizer=keras.regularizers.L2(0.1)))
    assert type(both.forward_layer) is type(both.backward_layer) is LAYERS[name]
    assert both.backward_layer.go_backwards and both(x).shape == (2, 8)
    kernels = [w for w in both.trainable_weights if w.name == "kernel"]
    assert len(both.losses) == len(kernels) >= 2


def test_the_stub_for_editors_is_current():
    assert _stub.PATH.read_text() == _stub.stub(), "run python -m keras_gates._stub"


def test_layer_of_serves_a_cell_from_elsewhere():
    class HalfCell(keras_gates.SimpleRNNCell):
        """A simple cell that moves half-way."""

        def __init__(self, units, *, share=0.5, **kwargs):
            super().__init__(units, **kwargs)
            self.share = share

        def step(self, x, states, recur):
            (h,), gates = super().step(x, states, recur)
            return (self.share * h + (1 - self.share) * states[0],), gates

    half = layer_of(HalfCell)
    assert half.__name__ == "Half" and "share" in inspect.signature(half).parameters
    layer = half(4, share=0.25)
    assert layer(x).shape == (2, 4)
    assert half.from_config(layer.get_config()).cell.share == 0.25


def test_layer_classes_can_be_pickled():
    assert pickle.loads(pickle.dumps(keras_gates.PeepholeLSTM)) is keras_gates.PeepholeLSTM
