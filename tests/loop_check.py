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
from kernel_check import as_exact_under_bfloat16, fit_learns_the_same, zoneout_draws_for_all_steps
from kernel_check_tools import compare, counted, outcome
from kernel_problems import CELLS, assert_close
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
    zoneout_draws_for_all_steps()


@check("as the plain path under mixed_bfloat16, and no less exact")
def _():
    as_exact_under_bfloat16("lstm")


@check("fit learns the same; predict takes the loops too")
def _():
    fit_learns_the_same()
    model = keras.Sequential([keras.Input((7, 3)), keras_gates.LSTM(5)])
    with counted() as calls:
        model.predict(np.ones((2, 7, 3), "float32"), verbose=0)
    assert calls


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
