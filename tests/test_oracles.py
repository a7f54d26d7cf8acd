"""Certificates: each cell, and each transcription of it, against implementations that are not ours.

The name of what certifies a cell stands in the test's id: `pytest -v tests/test_oracles.py` lists the
certificates. Everybody gets the same random weights, initial states, masks (padding on the right, padding on
the left, holes; always with a row that has no step at all) and directions. Outputs, final states and the
gradients with respect to inputs, initial states and every weight must agree.
"""

from functools import cache
from itertools import product

import external
import numpy as np
import pytest
from external import IMPLEMENTATIONS, layer_answer
from laws import ROWS
from oracles import run
from problem import MASKS, assert_same, transcribed

import keras_gates

DIRECTIONS = {"forwards": False, "backwards": True}
SETTINGS = list(product(MASKS, DIRECTIONS))
CERTIFIED = [(row, name) for row in ROWS for name in row.certified_by]

settings = pytest.mark.parametrize("mask, direction", SETTINGS, ids=lambda value: value)
each_cell = pytest.mark.parametrize("row", ROWS, ids=str)
each_certificate = pytest.mark.parametrize(
    "row, name", CERTIFIED, ids=[f"{row}={name}" for row, name in CERTIFIED]
)


@cache
def ours(row, mask, direction, dtype="float32"):
    layer = keras_gates.RNN(
        row.cell(dtype=dtype),
        return_sequences=True,
        return_state=True,
        go_backwards=DIRECTIONS[direction],
        dtype=dtype,
    )
    return layer_answer(layer, row.problem(mask, DIRECTIONS[direction]), dtype)


@cache
def transcription(row, mask, direction, gradients=True):
    return transcribed(row.oracle, row.problem(mask, DIRECTIONS[direction]), gradients)


def answer_of(name, problem):
    if name.startswith("torch") and external.torch is None:
        pytest.skip("torch is not installed")
    return IMPLEMENTATIONS[name](problem)


@settings
@each_certificate
def test_cell_equals(row, name, mask, direction):
    """Ours in float32 and another's, gradients included where the other has them."""
    theirs = answer_of(name, row.problem(mask, DIRECTIONS[direction]))
    assert_same(ours(row, mask, direction), theirs, 1e-5)


@settings
@pytest.mark.parametrize("row", ROWS, ids=[f"{row}=NumPy after {row.source}" for row in ROWS])
def test_cell_equals_transcription(row, mask, direction):
    """Ours in float32 and the paper in NumPy; under holes, which contain every other mask, with gradients."""
    theirs = transcription(row, mask, direction, gradients=mask == "holes")
    assert_same(ours(row, mask, direction), theirs, 1e-5)


@pytest.mark.parametrize("direction", DIRECTIONS)
@each_cell
def test_cell_equals_transcription_in_float64(row, direction):
    """In double precision nothing but the order of summation is left to differ."""
    assert_same(ours(row, "holes", direction, "float64"), transcription(row, "holes", direction), 1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS)
@each_certificate
def test_transcription_equals(row, name, direction):
    """The transcriptions are held to the same implementations, so that they can vouch for other cells."""
    theirs = answer_of(name, row.problem("holes", DIRECTIONS[direction]))
    assert_same(theirs, transcription(row, "holes", direction), 1e-5)


@each_cell
def test_gates_reported_are_those_of_the_transcription(row):
    problem = row.problem()
    cell = row.layer().cell
    states = [problem.arrays[name] for name in row.states]
    expected = run(lambda x, states: row.oracle(x, states, problem.weights), problem.arrays["x"], states)
    states = [state.astype("float32") for state in states]
    for t in range(problem.arrays["x"].shape[1]):
        _, states, gates = cell.report(problem.arrays["x"][:, t].astype("float32"), states)
        assert set(gates) == set(expected.gates)
        for name, values in expected.gates.items():
            np.testing.assert_allclose(gates[name], values[:, t], rtol=1e-5, atol=1e-5, err_msg=name)
