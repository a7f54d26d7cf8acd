"""Cells that wrap a cell: they add what they say, and hide nothing of the cell inside."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_gates as kg


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


def sequences(batch=3, time=5, features=4):
    return np.random.default_rng(0).normal(size=(batch, time, features)).astype("float32")


def test_residual_adds_its_input():
    cell, x = kg.LSTMCell(4), sequences()
    plain = keras.layers.RNN(cell, return_sequences=True)
    residual = keras.layers.RNN(kg.ResidualCell(cell), return_sequences=True)
    np.testing.assert_allclose(residual(x), plain(x) + x, atol=1e-6)


def test_residual_projects_when_asked():
    cell, x = kg.GRUCell(6), sequences()
    plain = keras.layers.RNN(cell, return_sequences=True)
    residual = keras.layers.RNN(kg.ResidualCell(cell, project=True), return_sequences=True)
    y = residual(x)
    np.testing.assert_allclose(y, plain(x) + ops.matmul(x, residual.cell.projection), atol=1e-6)


def test_residual_of_unequal_widths_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"4 features and LSTMCell gives 6.*project=True"):
        keras.layers.RNN(kg.ResidualCell(kg.LSTMCell(6)))(sequences())


@pytest.mark.parametrize("inside", [3, "lstm", kg.LSTM(4), keras.layers.StackedRNNCells([kg.LSTMCell(4)])])
def test_only_a_cell_can_be_wrapped(inside):
    with pytest.raises(TypeError, match="`cell` must be one recurrent cell"):
        kg.ResidualCell(inside)


@pytest.mark.parametrize("inside", [keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell])
def test_wraps_the_cells_of_keras(inside):
    cell, x = inside(4), sequences()
    residual = keras.layers.RNN(kg.ResidualCell(cell), return_sequences=True)
    np.testing.assert_allclose(residual(x), keras.layers.RNN(cell, return_sequences=True)(x) + x, atol=1e-6)


def test_masks_of_the_cell_inside_are_drawn_once_per_sequence_and_cleared():
    x = np.ones((2, 6, 4), "float32")
    inside = kg.SimpleRNNCell(
        4, activation="linear", recurrent_initializer="zeros", dropout=0.5, recurrent_dropout=0.5, seed=2
    )
    layer = keras.layers.RNN(kg.ResidualCell(kg.ResidualCell(inside)), return_sequences=True)
    first, second = (np.array(layer(x, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, first[:, :1].repeat(6, 1))
    assert not np.allclose(first, second)


def test_learned_initial_states_reach_through_the_wrapper():
    layer = keras.layers.RNN(kg.ResidualCell(kg.LSTMCell(4, learn_initial_state=True)))
    layer.build((None, None, 4))
    layer.cell.cell.initial_states["c"].assign([1.0, 2.0, 3.0, 4.0])
    h, c = layer.get_initial_state(2)
    np.testing.assert_array_equal(c, [[1.0, 2.0, 3.0, 4.0]] * 2)
    np.testing.assert_array_equal(h, np.zeros((2, 4)))


@pytest.mark.parametrize("where", ["rnn", "stacked", "bidirectional"])
def test_saves_and_loads(where, tmp_path):
    cells = [kg.ResidualCell(kg.PeepholeLSTMCell(4)), kg.ResidualCell(kg.GRUCell(6), project=True)]
    layer = keras.layers.RNN(cells if where == "stacked" else cells[1], return_sequences=True)
    if where == "bidirectional":
        layer = keras.layers.Bidirectional(layer)
    model = keras.Sequential([keras.Input((None, 4)), keras.layers.Masking(), layer])
    x = sequences()
    x[0, 3:] = 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_reports_what_the_cell_inside_reports():
    cell, x = kg.ResidualCell(kg.PeepholeLSTMCell(4)), sequences()[:, 0]
    cell.build(x.shape)
    states = cell.get_initial_state(3)
    output, new_states, gates = cell.call_with_gates(x, states)
    inner_output, _, inner_gates = cell.cell.call_with_gates(x, states)
    np.testing.assert_array_equal(output, inner_output + x)
    assert cell.states == ("h", "c") and len(new_states) == 2
    assert list(gates) == list(inner_gates) == ["i", "f", "g", "o"]


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_takes_the_dtype_of_the_cell_inside(dtype):
    cell = kg.ResidualCell(kg.LSTMCell(4, dtype=dtype))
    y = keras.layers.RNN(cell, dtype=dtype)(sequences())
    assert cell.compute_dtype == dtype.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(y.dtype) == cell.compute_dtype
