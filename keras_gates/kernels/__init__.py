"""Fused CPU kernels: whole sequences through a gated cell, and back, in one TensorFlow operation each way.

They are compiled for the machine at hand on first use and serve `keras_gates.RNN`, and so every layer by
name, where the backend is TensorFlow, the device a CPU, the computation in float32, the gates' activation
sigmoid and the other one tanh, linear or relu. Everything else, and a machine without a compiler, takes the
plain path through `keras.layers.RNN`; results are the same within rounding.

`python -m keras_gates.kernels` builds them, tests them and reports.
"""

import os
from typing import Literal

import keras

from keras_gates.kernels import scope
from keras_gates.kernels.cells import describe

_CHOICES = ("always", "training", "never")


def _checked(name, when):
    if when not in _CHOICES:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, _CHOICES))}; got {when!r}.")
    return when


_when = _checked(
    "The environment variable KERAS_GATES_KERNELS", os.environ.get("KERAS_GATES_KERNELS", "training")
)


class _Choice:
    """Puts the previous choice back at the end of a `with` block."""

    def __init__(self, previous):
        self.previous = previous

    def __enter__(self):
        return self

    def __exit__(self, *_):
        use_kernels(self.previous)


def use_kernels(when: Literal["always", "training", "never"]) -> _Choice:
    """Choose when the fused kernels serve, for the whole process and from now on.

    Functions that are traced already stay as they are. Whatever is chosen, no saved or exported model
    contains the kernels: a function traced for export takes the plain path, and a function of your own
    that holds them is left out of what TensorFlow saves.

    Args:
        when: `"training"`, where a layer is called with `training=True` (the default);
            `"always"`, also in inference: when computing eagerly, and in Keras' `evaluate` and `predict`,
            but not in a `tf.function` of your own, which may be meant for export; or `"never"`.
            The environment variable `KERAS_GATES_KERNELS` sets what holds at first.

    Returns:
        A context manager: `with use_kernels("never"): …` returns to the previous choice at its end.

    Raises:
        ValueError: `when` is none of these.
    """
    global _when
    previous, _when = _when, _checked("`when`", when)
    return _Choice(previous)


def through(layer, sequences, initial_state, mask, training):
    """What `layer.inner_loop` returns, computed by the kernels; None where they do not serve.

    Args:
        layer: a `keras_gates.RNN`.
        sequences: shape `(batch, time, features)`.
        initial_state: the list of states, each `(batch, units)`.
        mask: None or of shape `(batch, time)`.
        training: whether dropout applies.

    Returns:
        The last output `(batch, units)`, the outputs `(batch, time or 1, units)`, the list of final states.
    """
    if _when == "never" or (_when == "training" and not training) or keras.backend.backend() != "tensorflow":
        return None
    description = describe(layer.cell)
    if description is None or len(sequences.shape) != 3 or (mask is not None and len(mask.shape) != 2):
        return None
    if not scope.allows_kernels(training):
        return None
    from keras_gates.kernels import operation

    if not operation.available():
        return None
    return operation.run(description, layer, sequences, initial_state, mask, training)
