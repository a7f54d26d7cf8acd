"""The results of the forward operation, computed by the cell's own equations in TensorFlow's operations.

The kernels have no second derivative; this has derivatives of every order.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

from keras_gates._arguments import arguments_of
from keras_gates.kernels.cells import DEFAULTS

_CELLS: dict[tuple, tuple] = {}  # from an operation's description of a cell to its class and arguments


def remember(cell, description):
    """Store a cell's class and arguments, so that its equations can be found by this description."""
    key = _key(description)
    if key not in _CELLS:
        _CELLS[key] = type(cell), {name: getattr(cell, name) for name in arguments_of(type(cell))}


def _key(description):
    """A description as a key; an operation stores floats in single precision."""
    values = (description[name] for name in ("cell", *DEFAULTS))
    return tuple(float(np.float32(value)) if isinstance(value, float) else value for value in values)


def forward(attributes, x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask):
    """The operation's outputs `(outputs, last, h, c)` from its inputs and attributes.

    As in the operation, `c` holds the states other than h side by side, and what the cell or the layer does
    not have is of shape `(0,)`.
    """
    cell = _equations(attributes, h.shape[-1], kernel, recurrent_kernel, bias, vectors)
    recur = functools.partial(cell.recur, mask=recurrent_mask if recurrent_mask.shape.rank == 2 else None)
    options = {
        name: attributes[name] for name in ("return_sequences", "go_backwards", "zero_output_for_mask")
    }
    layer = keras.layers.RNN(_Steps(cell, recur), name="plain", **options)
    memories = len(cell.states) - 1
    states = [h, *(tf.split(c, memories, axis=1) if memories else [])]
    last, outputs, states = layer.inner_loop(x, states, mask if mask.shape.rank == 2 else None)
    absent = tf.zeros((0,))
    h, *memories = states
    return [
        outputs if layer.return_sequences else absent,
        last,
        h,
        tf.concat(memories, 1) if memories else absent,
    ]


def _equations(attributes, units, kernel, recurrent_kernel, bias, vectors):
    """A cell that has only its arguments, and these tensors as weights.

    Its constructor is not called: it would create a variable, the seed, which a traced function must not do.
    """
    kind, arguments = _CELLS[_key(attributes)]
    names = attributes["vector_names"]
    cell = object.__new__(kind)
    vars(cell).update(
        {
            **arguments,
            "units": units,
            "use_bias": True,
            "dropout_per_gate": False,
            "kernel": kernel,
            "recurrent_kernel": vectors[0] if names == "u" else recurrent_kernel,
            "bias": bias,
            "peephole_weights": dict(zip(names, tf.unstack(vectors, len(names)), strict=True)),
        }
    )
    return cell


class _Steps:
    """The steps of a cell, as `keras.layers.RNN` takes them."""

    def __init__(self, cell, recur):
        self.cell, self.recur = cell, recur
        self.state_size = [cell.units] * len(cell.states)

    def call(self, x, states):
        states, _ = self.cell.step(self.cell.project(x), tuple(states), self.recur)
        return states[0], list(states)

    __call__ = call
