"""The kernels over a grid of problems, beside the plain path in single and in double precision.

`KERAS_GATES_FULL_GRID=1` takes every problem instead of some for each cell.
"""

import itertools
import os

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("kernels serve TensorFlow only", allow_module_level=True)

from test_kernels import CELLS, MASKS, answers, needs_kernels, random_layer  # noqa: E402

import keras_gates  # noqa: E402

BOUND = 2e-5  # of the largest value; a smaller error is right in any case


def grid(full):
    """Problems (batch, time, features, units, mask, backwards): the whole grid, or a sample of it."""
    sizes = [(1, 1), (2, 3), (5, 16), (16, 5), (33, 31), (64, 48), (130, 65), (7, 130), (65, 128)]
    every = list(itertools.product((1, 3, 16, 65), (1, 2, 37), sizes, MASKS, (False, True)))
    chosen = every if full else [every[k] for k in np.random.default_rng(0).permutation(len(every))[:10]]
    return [(batch, time, *size, mask, backwards) for batch, time, size, mask, backwards in chosen]


def in_double_precision(layer, make, question):
    """The plain path's answers for the same weights and values, in float64."""
    x, states, mask, cotangents = question
    exact = keras_gates.RNN(
        make(layer.cell.units, dtype="float64"), return_sequences=True, return_state=True,
        go_backwards=layer.go_backwards, dtype="float64",
    )  # fmt: skip
    exact.build(x.shape)
    for variable, single in zip(exact.trainable_variables, layer.trainable_variables, strict=True):
        variable.assign(tf.cast(single.value, "float64"))
    states, cotangents = ([a.astype("float64") for a in arrays] for arrays in (states, cotangents))
    return answers(exact, x.astype("float64"), states, mask, cotangents, "never")


def errors(got, exact):
    """The largest error of each array, relative to the array's largest value."""
    return {
        name: np.max(np.abs(got[name] - want), initial=0) / np.max(np.abs(want), initial=1e-3)
        for name, want in exact.items()
    }


@needs_kernels
@pytest.mark.parametrize("problem", grid(full=bool(os.environ.get("KERAS_GATES_FULL_GRID"))), ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_kernels_are_as_exact_as_the_plain_path(name, problem):
    layer, question = random_layer(CELLS[name], problem)
    exact = in_double_precision(layer, CELLS[name], question)
    beyond = {
        of: error
        for of, error in errors(answers(layer, *question, "training"), exact).items()
        if not error <= BOUND
    }
    plain = errors(answers(layer, *question, "never"), exact) if beyond else {}
    for of, error in beyond.items():
        assert error <= 2 * plain[of], f"{of} is off by {error:.1e}, plainly by {plain[of]:.1e}"
