"""The kernels over a grid of problems, beside the plain path in single and in double precision.

`KERAS_GATES_FULL_GRID=1` takes every problem instead of some for each cell.
"""

import functools
import itertools
import os

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("these are the kernels of TensorFlow", allow_module_level=True)

from kernel_problems import CELLS, MASKS, random_layer  # noqa: E402
from test_kernels import answers, needs_kernels, tensors  # noqa: E402

import keras_gates  # noqa: E402

FULL = bool(os.environ.get("KERAS_GATES_FULL_GRID"))
BOUND = 2e-5  # of the largest value; a smaller error is right in any case
# how the names begin of cells whose plain path takes long
SLOW = ("layer-norm", "clockwork", "FGR", "full peepholes", "depth-gated")
NEIGHBOURS = 64 if FULL else 0  # problems that differ in the last bit, where a single one was not fair


def grid():
    """Problems (batch, time, features, units, mask, backwards): all, or some.

    Neighbours differ in batch, time and mask alone: so they share a traced function, see `exact_function`.
    """
    sizes = [(1, 1), (2, 3), (5, 16), (16, 5), (33, 31), (64, 48), (130, 65), (7, 130), (65, 128)]
    every = list(itertools.product(sizes, (False, True), (1, 3, 16, 65), (1, 2, 37), MASKS))
    chosen = every if FULL else [every[k] for k in np.random.default_rng(0).permutation(len(every))[:10]]
    return [(batch, time, *size, mask, backwards) for size, backwards, batch, time, mask in chosen]


@functools.lru_cache(maxsize=1)
def exact_layer(name, features, units, backwards):
    """A layer in float64."""
    layer = keras_gates.RNN(
        CELLS[name](units, dtype="float64"), return_sequences=True, return_state=True,
        go_backwards=backwards, dtype="float64",
    )  # fmt: skip
    layer.build((None, None, features))
    return layer


@functools.lru_cache(maxsize=1)
def exact_function(name, features, units, backwards):
    """The plain path of `exact_layer`, traced for any batch and time: it pays where it is asked often."""
    layer = exact_layer(name, features, units, backwards)
    many = tf.TensorSpec((None, None, units), "float64")
    states = [tf.TensorSpec((None, size), "float64") for size in layer.cell.state_size]
    x, mask = tf.TensorSpec((None, None, features), "float64"), tf.TensorSpec((None, None), "bool")

    @tf.function(input_signature=[x, states, mask, [many, *states]])
    def ask(x, states, mask, cotangents):
        return tensors(layer, x, states, mask, cotangents, "never")

    return ask


def in_double_precision(name, weights, question, backwards):
    """The plain path's answers for the same weights and values, in float64."""
    x, states, mask, cotangents = question
    of = name, x.shape[-1], states[0].shape[-1], backwards
    layer = exact_layer(*of)
    for variable, single in zip(layer.trainable_variables, weights, strict=True):
        variable.assign(tf.cast(single.value, "float64"))
    x, *others = (a.astype("float64") for a in (x, *states, *cotangents))
    states, cotangents = others[: len(states)], others[len(states) :]
    if not FULL:
        return answers(layer, x, states, mask, cotangents, "never")
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    return {name: tensor.numpy() for name, tensor in exact_function(*of)(x, states, mask, cotangents).items()}


def errors(got, exact):
    """The largest error of each array, relative to the array's largest value."""
    return {
        name: np.max(np.abs(got[name] - want), initial=0) / np.max(np.abs(want), initial=1e-3)
        for name, want in exact.items()
    }


def plain_errors(layer, question, exact):
    """Those of the plain path: on the problem, then on neighbours, whose weights, inputs and states differ by
    at most half a unit of the last place.

    Rounding may be kinder to one of two sums than to the other; how far off the plain path may be, a single
    one does not tell.
    """
    yield errors(answers(layer, *question, "never"), exact)
    x, states, *others = question
    rng, weights = np.random.default_rng(0), [variable.numpy() for variable in layer.trainable_variables]
    for _ in range(NEIGHBOURS):
        for variable, own in zip(layer.trainable_variables, weights, strict=True):
            variable.assign(moved(own, rng))
        near = moved(x, rng), [moved(state, rng) for state in states], *others
        yield errors(answers(layer, *near, "never"), exact)


def moved(values, rng):
    return (values * (1 + rng.uniform(-1, 1, values.shape) * 2.0**-24)).astype("float32")


def cases():
    """Names and problems. Where the plain path is slow, some problems are fewer."""
    return [
        (name, problem)
        for name in CELLS
        for problem in (grid()[1::4] if name.startswith(SLOW) and not FULL else grid())
    ]


@needs_kernels
@pytest.mark.parametrize("name, problem", cases(), ids=str)
def test_kernels_are_as_exact_as_the_plain_path(name, problem):
    """An error is right up to `BOUND`, or up to twice that of the plain path: of the whole grid also at a
    neighbour."""
    layer, question = random_layer(CELLS[name], problem)
    exact = in_double_precision(name, layer.trainable_variables, question, backwards=problem[-1])
    beyond = {
        of: error
        for of, error in errors(answers(layer, *question, "training"), exact).items()
        if not error <= BOUND
    }
    largest = dict.fromkeys(beyond, 0.0)
    for told in plain_errors(layer, question, exact) if beyond else ():
        largest = {of: max(error, told[of]) for of, error in largest.items()}
        if all(error <= 2 * largest[of] for of, error in beyond.items()):
            return
    for of, error in beyond.items():
        assert error <= 2 * largest[of], f"{of} is off by {error:.1e}, plainly by {largest[of]:.1e}"


@needs_kernels
def test_full_gate_recurrence_rounds_little_where_outputs_are_large(monkeypatch):
    """Not so where the products of its gates are added to those of the outputs, which come out larger."""
    monkeypatch.setitem(CELLS, "FGR relu", functools.partial(CELLS["FGR"], activation="relu"))
    layer, (x, *others) = random_layer(CELLS["FGR relu"], (8, 3, 20, 128, "none", False))
    question = 30 * x, *others
    exact = in_double_precision("FGR relu", layer.trainable_variables, question, backwards=False)["result 0"]
    fused, plain = (
        np.sqrt(np.mean((answers(layer, *question, when)["result 0"] - exact) ** 2))
        for when in ("training", "never")
    )
    assert fused <= 2 * plain
