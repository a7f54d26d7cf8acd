"""Certificates: each cell, and each transcription of it, against implementations that are not ours.

The name of what certifies a cell stands in the test's id: `pytest -v tests/test_oracles.py` lists the
certificates. Everybody gets the same random weights, initial states, masks (padding on the right, padding on
the left, holes; always with a row that has no step at all) and directions. Outputs, final states and the
gradients with respect to inputs, initial states and every weight must agree.

Attention, which needs a memory beside the sequence, has a table of its own below.
"""

from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import product

import external
import numpy as np
import oracles
import pytest
from external import IMPLEMENTATIONS, layer_answer
from laws import ROWS
from oracles import run
from problem import (
    BATCH,
    FEATURES,
    MASKS,
    UNITS,
    assert_same,
    mask_of,
    random_problem,
    transcribed,
)

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


# --------------------------------------------------------------------------------------------- attention

POSITIONS, MEMORY = 5, 6
BAHDANAU = "Bahdanau, Cho & Bengio 2015"
LUONG = "Luong, Pham & Manning 2015"
# The GRU is the one in Bahdanau's appendix: reset before the product, u says what is written.
INSIDE = {
    "LSTMCell": (keras_gates.LSTMCell, oracles.lstm, "hc", 4),
    "GRUCell": (
        partial(keras_gates.GRUCell, reset_after=False, update="write"),
        partial(oracles.gru, reset_after=False, update="write"),
        "h",
        3,
    ),
}


@dataclass(frozen=True)
class Looking:
    """An `AttentionCell` with one choice of its options; sizes that may differ do."""

    score: str
    inside: str
    hard: bool = False

    def __str__(self):
        return f"AttentionCell({self.inside}, {self.score}{', hard' if self.hard else ''})"

    @property
    def source(self):
        return BAHDANAU if self.score == "additive" else LUONG

    @property
    def memory_size(self):
        return self.width if self.score == "dot" else MEMORY

    @property
    def width(self):
        """Of the output of the cell inside; UNITS is that of the whole."""
        return UNITS if self.score == "additive" else UNITS + 1

    def problem(self, mask="none", direction="forwards"):
        width, memory, (_, _, states, gates) = self.width, self.memory_size, INSIDE[self.inside]
        own = {
            "additive": {
                "query_kernel": (width, UNITS + 3),
                "memory_kernel": (memory, UNITS + 3),
                "score_kernel": (UNITS + 3,),
            },
            "dot": {"attention_kernel": (memory + width, UNITS)},
            "general": {"memory_kernel": (memory, width), "attention_kernel": (memory + width, UNITS)},
        }[self.score]
        seen = memory if self.score == "additive" else UNITS
        weights = {
            "kernel": (FEATURES + seen, gates * width),
            "recurrent_kernel": (width, gates * width),
            "bias": (gates * width,),
            **own,
            "memory": (BATCH, POSITIONS, memory),
        }
        states = dict.fromkeys(states, (BATCH, width))
        if self.score != "additive":
            states["a"] = (BATCH, UNITS)
        return random_problem(weights, states, mask, DIRECTIONS[direction])

    def layer(self, dtype="float32", direction="forwards"):
        cell = keras_gates.AttentionCell(
            INSIDE[self.inside][0](self.width, dtype=dtype),
            score=self.score,
            units=UNITS + 3 if self.score == "additive" else UNITS,
            hard=self.hard,
        )
        return keras_gates.AttentionRNN(
            cell,
            return_sequences=True,
            return_state=True,
            go_backwards=DIRECTIONS[direction],
            dtype=dtype,
        )

    @cached_property
    def oracle(self):
        of_paper = oracles.bahdanau if self.score == "additive" else oracles.luong
        return partial(of_paper, step=INSIDE[self.inside][1], hard=self.hard)


SOFT = [Looking(*options) for options in product(("additive", "dot", "general"), INSIDE)]
LOOKING = SOFT + [Looking(row.score, row.inside, hard=True) for row in SOFT]


def named_after(rows):
    return pytest.mark.parametrize("row", rows, ids=[f"{row}=NumPy after {row.source}" for row in rows])


@pytest.mark.parametrize("mask, memory_mask", [("none", "none"), ("none", "holes"), ("holes", "holes")])
@named_after(LOOKING)
def test_attention_equals_transcription(row, mask, memory_mask):
    """Outputs, final states and alignments in float32; a row without a position, and one without a step."""
    problem, there = row.problem(mask), mask_of(memory_mask, time=POSITIONS)
    oracle, layer = partial(row.oracle, memory_mask=there), row.layer()
    answer = layer_answer(layer, problem, beside=["memory"], memory_mask=there)
    assert_same(answer, transcribed(oracle, problem, gradients=False), 1e-5)

    def looking(x, states):
        _, new, gates = oracle(x, states, problem.weights)
        return gates["alignment"], new, gates

    x, memory, *states = (problem.arrays[name] for name in ("x", "memory", *problem.state_names))
    alignments = layer.alignments(
        x.astype("float32"),
        memory.astype("float32"),
        initial_state=[state.astype("float32") for state in states],
        mask=problem.mask,
        memory_mask=there,
    )
    expected = run(looking, x, states, problem.mask).outputs
    np.testing.assert_allclose(alignments, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("direction, memory_mask", [("forwards", "none"), ("backwards", "holes")])
@named_after(SOFT)
def test_attention_equals_transcription_in_float64(row, direction, memory_mask):
    """The gradients of every weight, of x, of the initial states and of the memory as well."""
    problem, there = row.problem("holes", direction), mask_of(memory_mask, time=POSITIONS)
    layer = row.layer("float64", direction)
    answer = layer_answer(layer, problem, "float64", beside=["memory"], memory_mask=there)
    assert_same(answer, transcribed(partial(row.oracle, memory_mask=there), problem), 1e-12)
