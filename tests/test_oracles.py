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
import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from external import IMPLEMENTATIONS, keras_attention, layer_answer
from laws import ROWS
from oracles import differentiate, run
from problem import (
    BATCH,
    FEATURES,
    MASKS,
    TIME,
    UNITS,
    Answer,
    assert_same,
    mask_of,
    random_problem,
    transcribed,
)

import keras_gates
from keras_gates.attention import ATTENTIONS

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
        _, states, gates = cell.call_with_gates(problem.arrays["x"][:, t].astype("float32"), states)
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
    """A cell with attention, with one choice of its options; sizes that may differ do."""

    score: str
    inside: str
    hard: bool = False

    def __str__(self):
        of = "BahdanauCell" if self.score == "additive" else "LuongCell"
        return f"{of}({self.inside}, {self.score}{', hard' if self.hard else ''})"

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
        inside = INSIDE[self.inside][0](self.width, dtype=dtype)
        arguments = {"hard": self.hard, "dtype": dtype}
        if self.score == "additive":
            attention = keras_gates.AdditiveAttention(UNITS + 3, **arguments)
            cell = keras_gates.BahdanauCell(inside, attention)
        else:
            attention = ATTENTIONS[self.score](**arguments)
            cell = keras_gates.LuongCell(inside, attention, units=UNITS)
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


def looking_model(layer, x, memory, states, mask, memory_mask):
    """A model of the layer alone, of all its arguments that are not None, and their values for it."""
    values = {"memory": memory, "initial_state": states, "mask": mask, "memory_mask": memory_mask}
    values = {name: value for name, value in values.items() if value is not None}
    values = keras.tree.map_structure(
        lambda array: array if array.dtype == bool else array.astype("float32"), {"sequences": x, **values}
    )
    inputs = keras.tree.map_structure(
        lambda array: keras.Input(array.shape[1:], dtype=array.dtype.name), values
    )
    return keras.Model(keras.tree.flatten(inputs), layer(**inputs)), keras.tree.flatten(values)


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
    model, given = looking_model(layer, x, memory, states, problem.mask, there)
    alignments = keras_gates.trace(model, given)[layer.name]["alignment"]
    expected = run(looking, x, states, problem.mask).outputs
    if problem.mask is not None:
        expected = np.where(problem.mask[..., None], expected, np.nan)
    np.testing.assert_allclose(alignments, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("direction, memory_mask", [("forwards", "none"), ("backwards", "holes")])
@named_after(SOFT)
def test_attention_equals_transcription_in_float64(row, direction, memory_mask):
    """The gradients of every weight, of x, of the initial states and of the memory as well."""
    problem, there = row.problem("holes", direction), mask_of(memory_mask, time=POSITIONS)
    layer = row.layer("float64", direction)
    answer = layer_answer(layer, problem, "float64", beside=["memory"], memory_mask=there)
    assert_same(answer, transcribed(partial(row.oracle, memory_mask=there), problem), 1e-12)


def cotangent(values):
    return np.random.default_rng(5).normal(size=values.shape)


def keras_look(look, arrays):
    """Answer of ``look(arrays)``, which gives what is seen and the alignment, in float64."""
    arrays = {name: tf.constant(value, "float64") for name, value in arrays.items()}
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        seen, alignment = look(arrays)
        loss = sum(tf.reduce_sum(part * cotangent(part)) for part in (seen, alignment))
    gradients = {name: gradient.numpy() for name, gradient in tape.gradient(loss, arrays).items()}
    return Answer(seen.numpy(), {"alignment": alignment.numpy()}, gradients)


def numpy_look(look, arrays):
    """The same of a transcription."""

    def loss(arrays):
        return sum(np.sum(part * cotangent(part)) for part in look(arrays))

    seen, alignment = look(arrays)
    return Answer(seen, {"alignment": alignment}, differentiate(loss, arrays))


def with_weights(layer, arrays):
    """A scope in which the weights of a layer are the arrays of their names."""
    return keras.StatelessScope([(w, arrays[w.name]) for w in layer.trainable_weights if w.name in arrays])


def looks_of(row, there, training=False):
    """The arrays that one look depends on, the look of our attention, and its scores in NumPy."""
    problem, layer = row.problem(), row.layer("float64")
    names = ("query_kernel", "memory_kernel", "score_kernel", "memory")
    arrays = {name: problem.arrays[name] for name in names if name in problem.arrays}
    arrays["query"] = problem.arrays["h"]
    layer.build((BATCH, TIME, FEATURES), memory_shape=arrays["memory"].shape)

    def look(arrays):
        with with_weights(layer.cell.attention, arrays):
            layer.cell.attention.attend_to(arrays["memory"], there)
            return layer.cell.attention.look(arrays["query"], training=training)

    return arrays, look, oracles.bahdanau_score if row.score == "additive" else oracles.luong_score


@pytest.mark.parametrize(
    "score",
    ["additive", "dot", "general"],
    ids=[
        "AdditiveAttention=keras.layers.AdditiveAttention",
        "DotAttention=keras.layers.Attention",
        "GeneralAttention=keras.layers.Attention",
    ],
)
def test_look_equals(score):
    """What one query sees: ours, the transcription, and Keras' layer, which wants a position in each row."""
    there = mask_of("holes", time=POSITIONS) | (np.arange(BATCH) == BATCH - 1)[:, None]
    arrays, look, scores = looks_of(Looking(score, "GRUCell"), there)
    theirs = keras_look(partial(keras_attention, mask=there), arrays)
    assert_same(keras_look(look, arrays), theirs, 1e-12)

    def transcribed_look(arrays):
        return oracles.attend(scores(arrays["query"], arrays), arrays["memory"], there)

    assert_same(numpy_look(transcribed_look, arrays), theirs, 1e-12)


@pytest.mark.parametrize("score", ["additive", "dot", "general"])
def test_hard_attention_is_the_straight_through_estimator_in_training(score):
    """A position was drawn; what is seen is what stands there, and the gradient that of the transcription."""
    there = mask_of("holes", time=POSITIONS)
    arrays, look, scores = looks_of(Looking(score, "GRUCell", hard=True), there, training=True)
    ours = keras_look(look, arrays)
    taken = ours.final["alignment"].round()
    np.testing.assert_array_equal(taken.sum(-1), there.any(-1))

    def transcribed_look(arrays):
        return oracles.attend(scores(arrays["query"], arrays), arrays["memory"], there, hard=taken)

    assert_same(ours, numpy_look(transcribed_look, arrays), 1e-12)


@pytest.mark.parametrize(
    "mask", MASKS, ids=[f"AttentionPooling=NumPy after Yang et al. 2016-{mask}" for mask in MASKS]
)
def test_pooling_equals_transcription(mask):
    shapes = {"kernel": (FEATURES, UNITS), "bias": (UNITS,), "score_kernel": (UNITS,)}
    arrays, mask = random_problem(shapes, {}).arrays, mask_of(mask)
    layer = keras_gates.AttentionPooling(UNITS, return_alignments=True, dtype="float64")
    layer.build(arrays["x"].shape)

    def pool(arrays):
        with with_weights(layer, arrays):
            return layer(arrays["x"], mask=mask)

    def transcribed_pool(arrays):
        return oracles.hierarchical_attention(arrays["x"], arrays, mask)

    assert_same(keras_look(pool, arrays), numpy_look(transcribed_pool, arrays), 1e-12)
