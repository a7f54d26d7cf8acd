"""Fused CPU kernels: one operation runs a gated cell over whole sequences, another computes its gradient.

They come compiled with the package, or are compiled for the local machine on first use. `keras_gates.RNN`,
and so every layer by name, uses them where the backend is TensorFlow, JAX or PyTorch, the device a CPU, the
dtype policy float32 or mixed_bfloat16, the gates' activation sigmoid and the other one tanh, linear or relu.
Everything else, and a machine that has neither them nor a compiler, takes the plain path through
`keras.layers.RNN`; results are the same within rounding. On JAX beside a GPU, or any device that is not a
CPU, loops that XLA compiles take their place (`loop_jax`). Under mixed_bfloat16 the matrix products are in
bfloat16, with sums in float32, and all else between inputs and outputs in float32; on a processor that does
not multiply bfloat16, the products are in float32 too.

The library behind them knows no framework (`core`, `source/api.h`). A module for each backend (`on_jax`, …)
calls it; `placement` says where each may.

`python -m keras_gates.kernels` builds them, tests them and reports.
"""

import os
from typing import Literal

import keras

from keras_gates.kernels import wrapped
from keras_gates.kernels.cells import describe, levels_of
from keras_gates.kernels.own import register, serves

__all__ = ["register", "use_kernels"]

_CHOICES = ("everywhere", "always", "training", "never")


def _checked(name, when):
    if when not in _CHOICES:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, _CHOICES))}; got {when!r}.")
    return when


_when = _checked(
    "The environment variable KERAS_GATES_KERNELS", os.environ.get("KERAS_GATES_KERNELS", "always")
)


class _Choice:
    """Restores the previous choice at the end of a `with` block."""

    def __init__(self, previous):
        self.previous = previous

    def __enter__(self):
        return self

    def __exit__(self, *_):
        use_kernels(self.previous)


def use_kernels(when: Literal["everywhere", "always", "training", "never"]) -> _Choice:
    """Choose when the fused kernels are used, for the whole process and from now on.

    Functions that are already traced are not changed. Whatever is chosen, no saved or exported model
    contains the kernels: TensorFlow traces a `tf.function` again when it saves it, and then it takes the
    plain path. A `ConcreteFunction` that contains the kernels cannot be saved or converted, nor a function
    with kernels be exported by JAX: trying to do so raises an error that says why.

    Args:
        when: `"always"` (the default): when computing eagerly, in Keras' `fit`, `evaluate` and `predict`,
            and in a `tf.function` of your own that calls a layer with `training=True`; but not where it
            calls one for inference, since it may be meant for export. On JAX this goes for every traced
            function, those of `evaluate` and `predict` among them; on PyTorch, which traces nothing, the
            kernels are used wherever a layer is called eagerly;
            `"everywhere"`: there too, for a process that exports no function that it has traced: on JAX
            they then serve `evaluate` and `predict`;
            `"training"`: of these, only where a layer is called with `training=True`; or `"never"`.
            The environment variable `KERAS_GATES_KERNELS` sets the initial choice.

    Returns:
        A context manager: `with use_kernels("never"): …` restores the previous choice at its end.

    Raises:
        ValueError: `when` is none of these.
    """
    global _when
    previous, _when = _when, _checked("`when`", when)
    return _Choice(previous)


def fused_loop(layer, sequences, initial_state, mask, training):
    """What `layer.inner_loop` returns, computed by the kernels; None where the plain path is to be taken.

    Args:
        layer: a `keras_gates.RNN`.
        sequences: shape `(batch, time, features)`.
        initial_state: the list of states, each `(batch, units)`.
        mask: None or of shape `(batch, time)`.
        training: whether dropout applies.

    Returns:
        The last output `(batch, units)`, the outputs `(batch, time or 1, units)`, the list of final states.
    """
    if _when == "never" or (_when == "training" and not training):
        return None
    cell = wrapped.cell_inside(layer.cell)
    descriptions = [describe(level) for level in levels_of(cell)]
    if None in descriptions or not _serves(layer, cell, sequences, initial_state, mask):
        return None
    from keras_gates.kernels import operation, placement

    stays_here = bool(training) or _when == "everywhere"
    if not placement.allows_kernels(layer, sequences, mask, stays_here) or not operation.available():
        return None
    if not serves(cell, descriptions[0]):
        return None
    keep = wrapped.kept(layer.cell, sequences, training)
    results = operation.run(descriptions, layer, cell, keep, sequences, initial_state, mask, training)
    return wrapped.add_inputs(results, layer, sequences, mask, operation.masked_steps_show_states())


def _serves(layer, cell, sequences, initial_state, mask):
    """Whether the kernels take these tensors: of the cell's dtype and of full rank, without broadcasting."""
    tensors = [sequences, *initial_state]
    masks = [] if mask is None else [mask]
    ranks = [len(tensor.shape) for tensor in [*tensors, *masks]]
    if ranks != [3, *[2] * (len(ranks) - 1)] or 0 in sequences.shape[1:]:
        return False
    if {layer.compute_dtype, *map(_dtype, tensors)} != {cell.compute_dtype}:
        return False
    if sequences.shape[-1] != levels_of(cell)[0].kernel.shape[0]:
        return False  # the plain path says so in a sentence
    cell.check_states(initial_state)
    return _same_size([*tensors, *masks], axis=0) and _same_size([sequences, *masks], axis=1)


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def _same_size(tensors, axis):
    """Whether an axis has the same static size in all of them; otherwise they might be broadcast."""
    return len({tensor.shape[axis] for tensor in tensors}) == 1
