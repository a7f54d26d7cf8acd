"""The results of the forward pass, computed by the cell's own equations in the backend's operations.

The kernels have no second derivative; this has derivatives of every order.
"""

import functools

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import arguments_of
from keras_gates.kernels.cells import DEFAULTS, memories_of, reads_below
from keras_gates.kernels.weights import weights_in

_CELLS: dict[tuple, tuple] = {}  # from an operation's description of a cell to its class and arguments


def remember(cell, description):
    """Store a cell's class and arguments, so that its equations can be found by this description."""
    key = _key(description)
    if key not in _CELLS or _CELLS[key][0] is not type(cell):  # the user may define a class again
        _CELLS[key] = type(cell), {name: getattr(cell, name) for name in arguments_of(type(cell))}


def _key(description):
    """A description as a key; an operation stores floats in single precision."""
    values = (description[name] for name in ("cell", *DEFAULTS))
    return tuple(float(np.float32(value)) if isinstance(value, float) else value for value in values)


def forward(attributes, x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask, keep):
    """The results `[outputs, last, h, c]` of the forward pass, from its inputs and attributes.

    As there, `x` holds the memory below behind the features, where the cell reads it; `c` holds the states
    other than h side by side. What the cell or the layer does not have is of shape `(0,)`; so is `outputs`
    where the layer does not return them.
    """
    cell = equations(attributes, h.shape[-1], kernel, recurrent_kernel, bias, vectors)
    recur = functools.partial(cell.recur, mask=recurrent_mask if len(recurrent_mask.shape) == 2 else None)
    options = {
        name: attributes[name] for name in ("return_sequences", "go_backwards", "zero_output_for_mask")
    }
    if len(keep.shape) == 3:
        x = ops.concatenate([x, keep], axis=-1)
    steps = _Steps(cell, recur, attributes["shows_memory"])
    layer = keras.layers.RNN(steps, name="plain", **options)
    memories = memories_of(cell)
    states = steps.joined([h, *(ops.split(c, memories, axis=1) if memories else [])])
    last, outputs, states = layer.inner_loop(x, states, mask if len(mask.shape) == 2 else None)
    h, *rest = steps.separate(states)
    return [
        outputs if layer.return_sequences else ops.zeros((0,), h.dtype),
        last[:, : cell.units],
        h,
        ops.concatenate(rest, 1) if memories else h[:, :0],
    ]


def second_gradients(vjp, attributes, primals, mask, recurrent_mask, keep, d_results, d_gradients):
    """What the backward pass would give if it were differentiated in turn: computed anew, and twice, here.

    The tape of the forward pass is a function of the other inputs, so it gets no gradient of its own.

    Args:
        vjp: `vjp(function, primals, cotangents)` gives the results of a function and their gradients, and may
            be nested; from the backend.
        attributes: of the operation.
        primals: the inputs x, kernel, …, c that have gradients.
        mask, recurrent_mask, keep: the other inputs.
        d_results: the gradients of outputs, last, h and c that the backward pass was given.
        d_gradients: the gradients of what it gave.

    Returns:
        The gradients of the primals and those of `d_results`, two lists.
    """

    def run(x, *weights_and_states):
        return forward(attributes, x, mask, *weights_and_states, recurrent_mask, keep)

    def differentiate(*given):
        return vjp(run, list(given[: len(primals)]), list(given[len(primals) :]))[1]

    _, gradients = vjp(differentiate, [*primals, *d_results], list(d_gradients))
    return gradients[: len(primals)], gradients[len(primals) :]


def equations(attributes, units, kernel, recurrent_kernel, bias, vectors):
    """A cell that has only its arguments, and these tensors as weights.

    Its constructor is not called: it would create a variable, the seed, which a traced function must not do.
    """
    kind, arguments = _CELLS[_key(attributes)]
    cell = object.__new__(kind)
    vars(cell).update(
        {
            **arguments,
            "units": units,
            "use_bias": True,
            "dropout_per_gate": False,
            "kernel": kernel,
            "bias": bias,
            **weights_in(attributes, kind, units, recurrent_kernel, vectors),
        }
    )
    return cell


class _Steps:
    """The steps of a cell, as `keras.layers.RNN` takes them.

    Behind the features of the inputs stand the memory below, where the cell reads it, and zoneout's shares.
    The first state is the output, as Keras assumes for masked steps: h, or with `shows_memory` h and the
    first memory, side by side.
    """

    def __init__(self, cell, recur, shows_memory):
        self.cell, self.recur = cell, recur
        self.shown = 1 + shows_memory
        self.state_size = [cell.units * self.shown, *[cell.units] * (1 + memories_of(cell) - self.shown)]

    def joined(self, states):
        """The states with those that are shown as one."""
        return [ops.concatenate(states[: self.shown], axis=-1), *states[self.shown :]]

    def separate(self, states):
        """The reverse."""
        shown, *others = states
        return [*ops.split(shown, self.shown, axis=-1), *others]

    def call(self, x, states):
        features = self.cell.kernel.shape[0]
        beside = self.cell.split(x[:, features:]) if x.shape[-1] > features else []
        read = reads_below(self.cell)
        below, kept, old = beside[:read], beside[read:], self.separate(states)
        new, _ = self.cell.step(self.cell.project(x[:, :features]), (*old, *below), self.recur)
        if kept:
            new = [k * before + (1 - k) * after for k, before, after in zip(kept, old, new, strict=True)]
        new = self.joined(new)
        return new[0], new

    __call__ = call
