"""Counts what XLA sends between devices in a step of data-parallel training on JAX.

    PYTHONPATH=. python benchmarks/all_reduces.py

Compiles the gradient of a layer, its batch parted over two devices of this host, on the plain path and with
the fused kernels, and counts the operations that send something: those in a loop run at each step of time.
Between processes they would go over the network.
"""

import os
import re

os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import keras_gates

ROWS, STEPS, FEATURES, UNITS = 8, 40, 8, 16
SENDING = ("all-reduce", "all-gather")


def compiled():
    """The program, as text, of the gradient of a mean squared error."""
    inputs = keras.Input((STEPS, FEATURES))
    model = keras.Model(inputs, keras_gates.PeepholeLSTM(UNITS)(inputs))
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    parted, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("batch",), ()))
    weights = [jax.device_put(variable.numpy(), whole) for variable in model.trainable_variables]

    def loss(weights, x, y):
        outputs, _ = model.stateless_call(weights, model.non_trainable_variables, x, training=True)
        return ((outputs - y) ** 2).mean()

    x = jax.device_put(np.zeros((ROWS, STEPS, FEATURES), "float32"), parted)
    y = jax.device_put(np.zeros((ROWS, UNITS), "float32"), parted)
    return jax.jit(jax.grad(loss), out_shardings=whole).lower(weights, x, y).compile().as_text()


def counted(program):
    """How often each operation stands in the loops, and outside of them."""
    loops = set(re.findall(r"body=%?([\w.\-]+)", program))
    found = {(name, place): 0 for name in SENDING for place in ("in the loops", "outside")}
    for computation in re.split(r"\n(?=(?:ENTRY )?%?[\w.\-]+ \()", program):
        heading = re.match(r"\s*(?:ENTRY )?%?([\w.\-]+)", computation)
        place = "in the loops" if heading and heading[1] in loops else "outside"
        for name in SENDING:
            found[name, place] += len(re.findall(rf" {name}(?:-start)?\(", computation))
    return found


for mode in ("never", "always"):
    keras_gates.use_kernels(mode)
    told = ", ".join(f"{number} {name} {place}" for (name, place), number in counted(compiled()).items())
    print(f"{'fused kernels' if mode == 'always' else 'plain path'}: {told}")
