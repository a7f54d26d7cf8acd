"""What the fused kernels must do on JAX and on PyTorch: a plain script that needs no pytest.

    KERAS_BACKEND=jax python tests/kernel_check.py OUT.json

makes every check of `CHECKS` and writes, for each name, an empty string or why it failed.
`test_kernels_elsewhere.py` reads them. What concerns a kernel of the user's own, JAX alone or PyTorch alone
is in modules of its own.
"""

import json
import os
import sys
import tempfile

import keras
import kernel_check_jax  # noqa: F401 - this and the next two enter their checks
import kernel_check_own  # noqa: F401
import kernel_check_torch  # noqa: F401
import numpy as np
from kernel_check_tools import (
    BACKEND,
    CHECKS,
    ONLY,
    answers,
    check,
    compare,
    counted,
    outcome,
)
from kernel_problems import CELLS, assert_close, random_layer
from own_kernel import write_header

import keras_gates
from keras_gates.kernels import operation

# One of each kind of state, weight and product; the self-test of a fresh build tries every kernel.
SOME = [
    "simple",
    "indrnn",
    "lstm",
    "peephole previous",
    "peephole-only",
    "gru",
    "gru before",
    "slstm",
    "clockwork",
    "depth-gated",
]


for _name in CELLS if os.environ.get("KERAS_GATES_FULL_GRID") else SOME:

    @check(f"the plain path's values and gradients: {_name}", _name)
    def _(name):
        compare(CELLS[name], (5, 7, 9, 20, "holes", False))


@check("without a mask, over many rows and units")
def _():
    compare(CELLS["lstm"], (33, 9, 65, 70, "none", False))


@check("backwards")
def _():
    compare(CELLS["gru"], (3, 5, 4, 6, "left", True))


@check("the last output alone, zero where masked")
def _():
    compare(CELLS["lstm"], (3, 5, 4, 6, "right", False), return_sequences=False, zero_output_for_mask=True)


@check("dropout by the same masks")
def _():
    dropping = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
    compare(CELLS["gru"], (5, 7, 9, 20, "holes", False), arguments=dropping)


@check("an unrolled layer")
def _():
    found = []
    for when in ("always", "never"):
        layer, question = random_layer(CELLS["lstm"], (3, 5, 4, 6, "left", False), unroll=True)
        with keras_gates.use_kernels(when):
            found.append(answers(layer, *question))
    assert_close(*found)


for _name in ("gru", "peephole"):

    @check(f"second derivatives: {_name}", _name)
    def _(name):
        compare(CELLS[name], (3, 4, 5, 6, "holes", False), twice=True)


@check("a residual cell adds nothing to a masked step, or the input of an earlier one")
def _():
    compare(lambda units: keras_gates.ResidualCell(keras_gates.GRUCell(units)), (3, 6, 5, 5, "holes", True))


@check("zoneout draws for all steps at once")
def zoneout_draws_for_all_steps():
    layer = keras_gates.RNN(
        keras_gates.ZoneoutCell(keras_gates.GRUCell(40), zoneout=0.3), return_sequences=True
    )
    x = np.random.default_rng(0).normal(size=(20, 30, 3)).astype("float32")
    with counted() as calls:
        y = keras.ops.convert_to_numpy(layer(x, training=True))
    assert calls
    assert abs(np.mean(y[:, 1:] == y[:, :-1]) - 0.3) < 0.02


for _name in ("FGR", "clockwork"):

    @check(f"as the plain path under mixed_bfloat16, and no less exact: {_name}", _name)
    def as_exact_under_bfloat16(name):
        make, problem, policy = CELLS[name], (33, 9, 31, 40, "holes", False), "mixed_bfloat16"
        with keras_gates.use_kernels("never"):
            layer, question = random_layer(make, problem)
            exact = answers(layer, *question)  # single precision is exact beside bfloat16
        found = []
        for when in ("always", "never"):
            layer, question = random_layer(make, problem, arguments={"dtype": policy}, dtype=policy)
            with keras_gates.use_kernels(when), counted() as calls:
                found.append(answers(layer, *question))
            assert bool(calls) == (when == "always")
        fused, plain = found
        assert any(value.dtype.name == "bfloat16" for value in plain.values())
        for k, want in exact.items():
            assert fused[k].dtype == plain[k].dtype
            error, allowed = (np.sqrt(np.mean((given[k] - want) ** 2)) for given in found)
            assert error <= allowed, f"{k} is off by {error:.1e}, plainly by {allowed:.1e}"


@check("other dtypes take the plain path")
def _():
    for dtype in ("float64", "bfloat16"):
        # PyTorch draws no orthogonal matrix in bfloat16
        cell = keras_gates.LSTMCell(4, dtype=dtype, recurrent_initializer="glorot_uniform")
        layer = keras_gates.RNN(cell, dtype=dtype)
        with counted() as calls:
            layer(np.ones((2, 3, 4), dtype if dtype == "float64" else "float32"), training=True)
        assert not calls


@check("use_kernels chooses")
def _():
    layer, x = keras_gates.LSTM(4), np.ones((2, 3, 4), "float32")
    wanted = {"always": [False, True], "training": [True], "never": []}
    for when, trained in wanted.items():
        with keras_gates.use_kernels(when), counted() as calls:
            layer(x), layer(x, training=True)
        assert [call[-1] for call in calls] == trained, when


@check("fit learns the same")
def fit_learns_the_same():
    found = []
    for when in ("always", "never"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((7, 3)), keras.layers.Masking(), keras.layers.Bidirectional(keras_gates.LSTM(5))]
        )
        model.compile("sgd", "mse")
        x = np.random.default_rng(0).normal(size=(8, 7, 3)).astype("float32")
        x[3:6, 4:] = 0
        with keras_gates.use_kernels(when), counted() as calls:
            model.fit(x, x[:, :4].reshape(8, -1)[:, :10], batch_size=4, shuffle=False, verbose=0)
            found.append(
                {str(k): w for k, w in enumerate([model.predict(x, verbose=0), *model.get_weights()])}
            )
        assert bool(calls) == (when == "always")
    assert_close(*found)


@check("what is not a number stays in its row")
def _():
    layer, (x, *_) = random_layer(CELLS["lstm"], (5, 4, 3, 20, "none", False))
    clean = keras.ops.convert_to_numpy(layer(x, training=True)[0])
    x[2, 1, 0] = np.nan
    y = keras.ops.convert_to_numpy(layer(x, training=True)[0])
    assert np.isnan(y[2, 1:]).all() and np.isfinite(y[2, 0]).all()
    assert np.array_equal(np.delete(y, 2, 0), np.delete(clean, 2, 0))


@check("wrong states are refused in the words of the cell")
def _():
    layer = keras_gates.LSTM(6)
    try:
        layer(np.ones((3, 5, 4), "float32"), initial_state=[np.ones((3, 5), "float32")] * 2, training=True)
    except ValueError as error:
        assert "LSTMCell" in str(error)
    else:
        raise AssertionError("nothing was raised")


@check("no other framework was imported")
def _():
    others = {"tensorflow", "jax", "torch"} - {BACKEND}
    assert not [name for name in others if sys.modules.get(name)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_GATES_CELLS"] = str(write_header(folder))
        assert operation.available(), "there are no kernels"
    found = {name: outcome(CHECKS[name]) for name in CHECKS if ONLY[name] in (None, BACKEND)}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
