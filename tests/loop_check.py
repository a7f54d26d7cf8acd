"""What the loops must do that are the kernels under JAX beside a GPU: a plain script that needs no pytest.

    KERAS_BACKEND=jax python tests/loop_check.py OUT.json

makes every check of `CHECKS` and writes, for each name, an empty string or why it failed. Where there is no
GPU, the loops run on a CPU. On a GPU, products are exact only with JAX_DEFAULT_MATMUL_PRECISION=highest.
`KERAS_GATES_FULL_GRID=1` checks every cell that has kernels.
"""

import json
import os
import sys

import keras
import numpy as np
from kernel_check import answers, assert_close, compare, counted, outcome
from kernel_problems import CELLS, random_layer
from own_kernel import my_cell

import keras_gates
from keras_gates.kernels import placement

# One of each way to use a matrix, a vector, a bias, a memory and a level.
SOME = ["indrnn", "gru before", "layer-norm-gru", "full peepholes", "FGR", "clockwork", "depth-gated"]
CHECKS = {}


def check(name):
    def enter(function):
        CHECKS[name] = function
        return function

    return enter


for _name in CELLS if os.environ.get("KERAS_GATES_FULL_GRID") else SOME:
    CHECKS[f"the plain path's values and gradients: {_name}"] = lambda name=_name: compare(
        CELLS[name], (5, 7, 9, 20, "holes", False)
    )


@check("backwards, the last output alone, zero where masked")
def _():
    compare(CELLS["gru"], (3, 5, 4, 6, "right", True), return_sequences=False, zero_output_for_mask=True)


@check("without a mask, dropout by the same masks")
def _():
    dropping = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
    compare(CELLS["peephole"], (5, 7, 9, 20, "none", False), arguments=dropping)


@check("weights dropped by the same masks")
def _():
    compare(CELLS["lstm"], (5, 7, 9, 20, "left", False), arguments={"seed": 7}, weight_dropout=0.4)


@check("second derivatives")
def _():
    compare(CELLS["gru"], (3, 4, 5, 6, "holes", False), twice=True)


@check("zoneout keeps, and draws for all steps at once")
def _():
    cell = keras_gates.ZoneoutCell(keras_gates.GRUCell(40), zoneout=0.3)
    layer = keras_gates.RNN(keras_gates.ResidualCell(cell, project=True), return_sequences=True)
    x = np.random.default_rng(0).normal(size=(20, 30, 3)).astype("float32")
    found = []
    for when in ("always", "never"):
        with keras_gates.use_kernels(when):
            found.append({"y": keras.ops.convert_to_numpy(layer(x))})
    assert_close(*found)
    layer = keras_gates.RNN(cell, return_sequences=True)
    with counted() as calls:
        y = keras.ops.convert_to_numpy(layer(x, training=True))
    assert calls
    assert abs(np.mean(y[:, 1:] == y[:, :-1]) - 0.3) < 0.02


@check("as exact as the plain path under mixed_bfloat16")
def _():
    make, problem, policy = CELLS["lstm"], (33, 9, 31, 40, "holes", False), "mixed_bfloat16"
    with keras_gates.use_kernels("never"):
        layer, question = random_layer(make, problem)
        exact = answers(layer, *question)
    found = []
    for when in ("always", "never"):
        layer, question = random_layer(make, problem, arguments={"dtype": policy}, dtype=policy)
        with keras_gates.use_kernels(when), counted() as calls:
            found.append(answers(layer, *question))
        assert bool(calls) == (when == "always")
    looped, plain = found
    for k, want in exact.items():
        assert looped[k].dtype == plain[k].dtype
        error, allowed = (np.sqrt(np.mean((given[k] - want) ** 2)) for given in found)
        assert error <= 1.1 * allowed, f"{k} is off by {error:.1e}, plainly by {allowed:.1e}"


@check("fit learns the same; evaluate and predict take the loops too")
def _():
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
            trained = len(calls)
            y = model.predict(x, verbose=0)
        assert (0 < trained < len(calls)) == (when == "always")
        found.append({str(k): w for k, w in enumerate([y, *model.get_weights()])})
    assert_close(*found)


@check("vmap, and a function that is exported")
def _():
    import jax

    layer, x = keras_gates.LSTM(4), np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype("float32")
    layer.build(x.shape[1:])
    gradient = jax.grad(lambda x: layer(x, training=True).sum())
    each = np.stack([gradient(sequence) for sequence in x])
    assert_close({"x": jax.vmap(gradient)(x)}, {"x": each})
    exported = jax.export.export(jax.jit(gradient))(x[0])
    assert_close({"x": exported.call(x[0])}, {"x": each[0]})


@check("a cell of the user's own, which needs no header there")
def _():
    assert not os.environ.get("KERAS_GATES_CELLS")
    compare(my_cell(), (5, 7, 9, 20, "holes", True))


@check("nothing is built")
def _():
    assert not [name for name in sys.modules if name.startswith("keras_gates.kernels.selftest")]


if __name__ == "__main__":
    placement.is_beside_gpu = lambda: True
    found = {name: outcome(function) for name, function in CHECKS.items()}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
    print(f"{sum(not why for why in found.values())} of {len(found)} hold")
    for name, why in found.items():
        if why:
            print(name, why, sep="\n")
