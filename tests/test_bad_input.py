"""Wrong arguments and shapes: one sentence that names the argument, the value given and what was expected."""

import keras
import numpy as np
import pytest
from laws import RNNS, ROWS
from problem import BATCH, FEATURES, TIME, UNITS

import keras_gates

MAIN = [row for row in ROWS if row.every_law]

each_cell = pytest.mark.parametrize("row", MAIN, ids=str)
each_rnn = pytest.mark.parametrize("rnn", RNNS.values(), ids=RNNS)

BAD_UNITS = [0, -3, "8", 2.5, True, None]
BAD_ARGUMENTS = [
    ("activation", "tangent"),
    ("recurrent_activation", "sigma"),
    ("kernel_initializer", "glorot"),
    ("recurrent_initializer", "orthodox"),
    ("bias_initializer", 7),
    ("kernel_regularizer", "L3"),
    ("bias_constraint", "none at all"),
    ("dropout", 1.0),
    ("dropout", -0.1),
    ("dropout", "0.5"),
    ("recurrent_dropout", 1),
]
OWN_ARGUMENTS = [
    (keras_gates.PeepholeLSTMCell, "peepholes", ("i", "g")),
    (keras_gates.PeepholeLSTMCell, "peepholes", "c"),
    (keras_gates.PeepholeLSTMCell, "peepholes", 3),
    (keras_gates.PeepholeLSTMCell, "peephole", "dense"),
    (keras_gates.PeepholeLSTMCell, "output_peephole", "next"),
    (keras_gates.PeepholeLSTMCell, "peephole_initializer", "glorot"),
    (keras_gates.CoupledLSTMCell, "peepholes", ("i",)),
    (keras_gates.PeepholeOnlyLSTMCell, "output_activation", "tangent"),
    (keras_gates.GRUCell, "update", "forget"),
]


def assert_names(error, argument, value):
    """One line with the argument in backquotes and the value as Python writes it."""
    message = str(error.value)
    assert f"`{argument}`" in message and repr(value) in message and "\n" not in message, message


@pytest.mark.parametrize("units", BAD_UNITS, ids=repr)
@each_cell
def test_units(row, units):
    with pytest.raises((TypeError, ValueError)) as error:
        row.make(units)
    assert_names(error, "units", units)
    assert "positive integer" in str(error.value)


@pytest.mark.parametrize(
    "row, argument, value",
    [(row, *bad) for row in MAIN for bad in BAD_ARGUMENTS if row.takes(bad[0])],
    ids=str,
)
def test_arguments(row, argument, value):
    with pytest.raises(ValueError) as error:
        row.cell(**{argument: value})
    assert_names(error, argument, value)


@pytest.mark.parametrize(
    "cell, argument, value", OWN_ARGUMENTS, ids=[f"{c.__name__}-{a}={v}" for c, a, v in OWN_ARGUMENTS]
)
def test_own_arguments(cell, argument, value):
    with pytest.raises((TypeError, ValueError)) as error:
        cell(UNITS, **{argument: value})
    assert_names(error, argument, value)


@each_cell
def test_unknown_argument(row):
    with pytest.raises((TypeError, ValueError), match="dropuot"):
        row.cell(dropuot=0.1)


@each_cell
def test_arguments_without_a_use(row):
    for argument in getattr(row.cell(), "without", ()):
        with pytest.raises(TypeError, match=f"`{argument}`"):
            row.cell(**{argument: 0.5})


@each_cell
def test_number_of_states(row):
    cell, state = row.layer().cell, np.zeros((BATCH, UNITS), "float32")
    for given in (len(row.states) + 1, len(row.states) - 1):
        with pytest.raises(ValueError, match=rf"{len(row.states)} state.*got {given}"):
            cell(np.zeros((BATCH, FEATURES), "float32"), [state] * given)


@each_rnn
@each_cell
def test_number_of_initial_states(row, rnn):
    state = np.zeros((BATCH, UNITS), "float32")
    for given in (len(row.states) + 1, len(row.states) - 1):
        if given:
            with pytest.raises(ValueError, match=rf"{len(row.states)} state.*got {given}"):
                row.layer(rnn)(np.zeros((BATCH, TIME, FEATURES), "float32"), initial_state=[state] * given)


@each_rnn
@each_cell
def test_width_of_initial_states(row, rnn):
    states = [np.zeros((BATCH, UNITS + 1), "float32") for _ in row.states]
    with pytest.raises(ValueError, match=rf"{UNITS}.*{UNITS + 1}"):
        row.layer(rnn)(np.zeros((BATCH, TIME, FEATURES), "float32"), initial_state=states)


@pytest.mark.parametrize("shape", [(BATCH, FEATURES), (BATCH,), (BATCH, TIME, 2, FEATURES)], ids=str)
@each_rnn
@each_cell
def test_rank_of_the_input(row, rnn, shape):
    with pytest.raises(ValueError, match=r"batch, time, features"):
        rnn(row.cell())(np.zeros(shape, "float32"))


@pytest.mark.parametrize("shape", [(BATCH, FEATURES), (BATCH, TIME, 2, FEATURES)], ids=str)
@each_cell
def test_rank_of_the_input_once_built(row, shape):
    """Of our own layer; a layer of Keras fails before it asks its cell."""
    with pytest.raises(ValueError, match=rf"expected ndim=3, found ndim={len(shape)}"):
        row.layer()(np.zeros(shape, "float32"))


@each_rnn
@each_cell
def test_features_once_built(row, rnn):
    with pytest.raises(ValueError, match=rf"{FEATURES}.*{FEATURES + 2}"):
        row.layer(rnn)(np.zeros((BATCH, TIME, FEATURES + 2), "float32"))


@each_rnn
@each_cell
def test_unknown_number_of_features(row, rnn):
    with pytest.raises(ValueError, match="number of features"):
        rnn(row.cell())(keras.Input((None, None)))


def test_layers_by_name_pass_on_what_their_cell_says():
    with pytest.raises(ValueError) as error:
        keras_gates.LSTM(0)
    assert_names(error, "units", 0)
    with pytest.raises(ValueError) as error:
        keras_gates.PeepholeLSTM(8, peepholes=("x",))
    assert_names(error, "peepholes", ("x",))
