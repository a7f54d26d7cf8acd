"""What every cell computes and learns on whatever backend Keras has: a plain script that needs no pytest.

    KERAS_BACKEND=jax python tests/backend_check.py OUT.npz

takes every cell of the table in `laws.py` through a sequence in `keras.layers.RNN` and in `keras_gates.RNN`,
with given weights, initial states and a mask with holes, and then through one step of `fit`. Outputs, final
states and the weights after the step (which are the gradients) are written to OUT.npz under the cell's name.
`test_backends.py` compares them.
"""

import sys

import keras
import numpy as np
from laws import RNNS, ROWS
from problem import FEATURES, TIME, named

import keras_gates

MAIN = [row for row in ROWS if row.every_law]


def forward(row, rnn):
    """Outputs of the steps that a mask with holes lets through, and final states, from given states.

    What stands in the other steps is up to the backend: Keras on JAX repeats the first state there, even
    before the first step.
    """
    problem = row.problem("holes")
    x, mask, *states = (
        keras.ops.convert_to_tensor(value)
        for value in (
            problem.arrays["x"].astype("float32"),
            problem.mask,
            *(problem.arrays[name].astype("float32") for name in row.states),
        )
    )
    outputs, *final = map(keras.ops.convert_to_numpy, row.layer(rnn)(x, initial_state=states, mask=mask))
    final = {f"state {name}": state for name, state in zip(row.states, final, strict=True)}
    return {"outputs": outputs[problem.mask], **final}


def after_one_step(row):
    """The weights after one step of gradient descent under `fit`.

    Zoneout draws anew at each step: no two backends draw the same, and a loop compiled by JAX cannot. It is
    unrolled, and what is kept of its weights is that they are finite.
    """
    problem = row.problem()
    layer = row.layer(keras_gates.RNN, return_state=False, unroll=row.draws)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    x, y = (values.astype("float32") for values in (problem.arrays["x"], problem.cotangents["outputs"]))
    model.fit(x, y, batch_size=len(x), verbose=0)
    found = {}
    for name, weight in named(layer.trainable_weights).items():
        weight = keras.ops.convert_to_numpy(weight)
        found[f"trained {name}"] = np.isfinite(weight) if row.draws else weight
    return found


def answers():
    """Everything there is to compare, by the names of cell and array."""
    found = {}
    for row in MAIN:
        for rnn in RNNS:
            found |= {f"{row}/{rnn}/{name}": value for name, value in forward(row, RNNS[rnn]).items()}
        found |= {f"{row}/{name}": value for name, value in after_one_step(row).items()}
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **answers())
