"""Chrono: the biases of Tallec & Ollivier 2018, in every cell that has a gate for them."""

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates import Chrono

LONGEST, UNITS = 50, 400
TIMED = [name for name, cell in keras_gates.cell_classes().items() if name == "depth-gated" or cell(4).timing]
# The memory of each in a layer that sees nothing but zeros.
MEMORY = {
    "lstm": "c",
    "V": "c",
    "janet": "h",
    "min-lstm": "h",
    "gru": "h",
    "min-gru": "h",
    "minimal-gated": "h",
}


def biases(cell):
    """The bias of each gate, (units,), by name."""
    cell.build((None, 3))
    bias = np.asarray(cell.bias)
    return dict(zip(cell.gates, np.split(bias[0] if bias.ndim == 2 else bias, len(cell.gates)), strict=True))


def test_an_lstm_starts_as_the_paper_says():
    found = biases(keras_gates.LSTMCell(UNITS, bias_initializer=Chrono(LONGEST, seed=1)))
    steps = np.exp(found["f"])
    assert 1 <= steps.min() < 2 and LONGEST - 3 < steps.max() <= LONGEST - 1
    quarters = np.quantile(steps, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quarters, 1 + (LONGEST - 2) * np.array([0.25, 0.5, 0.75]), atol=4)
    np.testing.assert_array_equal(found["i"], -found["f"])
    assert not found["g"].any() and not found["o"].any()


@pytest.mark.parametrize(
    ("cell", "sign"),
    [
        (keras_gates.GRUCell(UNITS, bias_initializer=Chrono(LONGEST)), 1),
        (keras_gates.GRUCell(UNITS, bias_initializer=Chrono(LONGEST), update="write"), -1),
        (keras_gates.MinGRUCell(UNITS, bias_initializer=Chrono(LONGEST)), -1),
    ],
)
def test_a_gate_that_keeps_starts_open_and_one_that_writes_shut(cell, sign):
    found = biases(cell)
    assert (sign * found.pop("u") >= 0).all()
    assert not any(other.any() for other in found.values())


@pytest.mark.parametrize("name", MEMORY)
def test_a_memory_fades_over_as_many_steps_as_were_drawn(name):
    """Without any input, a unit keeps u / (1 + u) of its memory, so 1 − 1 / (1 + u)."""
    cell = keras_gates.cell_classes()[name](UNITS, bias_initializer=Chrono(LONGEST, seed=2))
    zero = np.zeros((1, 3), "float32")
    states = [keras.ops.ones((1, UNITS)) for _ in cell.states]
    cell.build((None, 3))
    for weight in cell.trainable_variables:
        if weight is not cell.bias:
            weight.assign(keras.ops.zeros_like(weight))
    _, after = cell(keras.ops.convert_to_tensor(zero), states)
    kept = np.asarray(dict(zip(cell.states, after, strict=True))[MEMORY[name]])[0]
    steps = kept / (1 - kept)
    assert 1 - 1e-3 <= steps.min() < 2 and LONGEST - 3 < steps.max() <= LONGEST - 1 + 1e-2


@pytest.mark.parametrize("name", TIMED)
def test_every_cell_with_such_a_gate_takes_it_and_is_built_again_from_its_config(name):
    cell = keras_gates.cell_classes()[name](4, bias_initializer=Chrono(9, seed=3))
    again = type(cell).from_config(cell.get_config())
    drawn = []
    for each in (cell, again):
        each.build((None, 3))
        drawn.append(np.concatenate([np.ravel(w) for w in each.weights if w.path.endswith("bias")]))
    assert drawn[0].any()
    np.testing.assert_array_equal(*drawn)


def test_two_layers_start_with_biases_of_their_own_unless_a_seed_is_given():
    drawn = [biases(keras_gates.LSTMCell(4, bias_initializer=Chrono(9)))["f"] for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()
    seeded = [biases(keras_gates.LSTMCell(4, bias_initializer=Chrono(9, seed=1)))["f"] for _ in range(2)]
    np.testing.assert_array_equal(*seeded)


def test_a_saved_layer_has_its_biases(tmp_path):
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, keras_gates.LSTM(4, bias_initializer=Chrono(9))(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.layers[-1].cell.bias_initializer.longest == 9
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("cell", [keras_gates.SimpleRNNCell, keras_gates.NoForgetGateLSTMCell])
def test_a_cell_without_such_a_gate_refuses_it(cell):
    with pytest.raises(ValueError, match="has no gate that keeps its memory"):
        cell(4, bias_initializer=Chrono(9)).build((None, 3))


def test_what_is_no_number_of_steps_or_no_cell_is_refused():
    with pytest.raises(ValueError, match="`longest` must be at least 3; got 2"):
        Chrono(2)
    with pytest.raises(ValueError, match="a cell of keras_gates"):
        keras.layers.LSTMCell(4, bias_initializer=Chrono(9), unit_forget_bias=False).build((None, 3))
