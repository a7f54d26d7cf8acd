"""The kernels as one operation of the backend at hand: `keras_gates.RNN` runs a sequence through it."""

import functools
import importlib
import logging

import keras
from keras import ops

from keras_gates.kernels import build, plain
from keras_gates.kernels.cells import levels_of, memories_of
from keras_gates.kernels.weights import weights_of

_log = logging.getLogger("keras_gates")


@functools.cache
def door():
    """The module by which the backend calls the kernels; it imports no other framework."""
    return importlib.import_module(f"keras_gates.kernels.on_{keras.backend.backend()}")


@functools.cache
def available():
    """Whether the kernels are available; builds them if necessary, and logs the reason if they are not."""
    try:
        door().library()
    except build.BuildError as error:
        _log.warning("keras_gates runs without its fused kernels: %s", error)
        return False
    return True


def masked_steps_show_states():
    """Whether a masked step's output is the first state, as in Keras on JAX, and not the previous output."""
    return door().ATTRIBUTES["show_initial_state"]


def run(descriptions, layer, cell, keep, sequences, initial_state, mask, training):
    """See `keras_gates.kernels.fused_loop`; `cell` is the layer's, or the one that it wraps.

    Its levels run one after the other, each over the whole sequence; `descriptions` are theirs. `keep` is
    what zoneout keeps, None or of shape `(batch, time, states·units)`; None if there are several levels.
    """
    levels = levels_of(cell)
    count = len(initial_state) // len(levels)  # of the states of a level; those of the top level come first
    narrow = layer.compute_dtype == "bfloat16"
    outputs, go_backwards = ops.convert_to_tensor(sequences), layer.go_backwards
    mask = ops.zeros((0,), "bool") if mask is None else ops.cast(mask, "bool")
    states = []
    for level, description in zip(levels, descriptions, strict=True):
        is_top = level is levels[-1]
        attributes = {
            **description,
            "shows_memory": not is_top,
            "return_sequences": layer.return_sequences or not is_top,
            "go_backwards": go_backwards,
            "zero_output_for_mask": bool(layer.zero_output_for_mask),
            "bfloat16_products": narrow,
        }
        plain.remember(level, attributes)
        if training and level.dropout:
            dropping = level if states else cell  # a stack itself draws the mask of its inputs
            features = level.kernel.shape[0]
            outputs = _dropped(outputs, dropping.get_dropout_mask(outputs[:, 0, :features]))
        end = len(initial_state) - len(states)
        inputs = _inputs(description, level, keep, outputs, initial_state[end - count : end], mask, training)
        if narrow:  # the products alone: what the operation takes and gives is float32
            inputs = {
                name: tensor if name == "mask" else ops.cast(tensor, "float32")
                for name, tensor in inputs.items()
            }
        outputs, last, h, c = door().forward(attributes, inputs, training)
        states = [*_states(level, h, c), *states]
        if go_backwards and not is_top:  # the outputs are in the order of processing
            go_backwards, mask = False, ops.flip(mask, axis=-1)
    outputs = outputs if layer.return_sequences else ops.expand_dims(last, 1)
    return keras.tree.map_structure(
        lambda result: ops.cast(result, layer.compute_dtype), (last, outputs, states)
    )


def _inputs(description, cell, keep, x, states, mask, training):
    """What the operation takes, by name."""
    recurrent_mask, absent = None, ops.zeros((0,))
    if training and cell.recurrent_dropout:
        recurrent_mask = cell.get_recurrent_dropout_mask(states[0])
    memories = [_of_each_unit(state, cell.units) for state in states[1:]]
    return {
        "x": x,
        "mask": mask,
        **weights_of(cell, description),
        "h": states[0],
        "c": ops.concatenate(memories, axis=1) if memories else absent,
        "recurrent_mask": absent if recurrent_mask is None else recurrent_mask,
        "keep": absent if keep is None else keep,
    }


def _dropped(x, mask):
    """x times a dropout mask of its features; the memory below, which stands behind them, is not dropped."""
    mask = ops.cast(mask, x.dtype)
    beside = x.shape[-1] - mask.shape[-1]
    if beside:
        mask = ops.pad(mask, ((0, 0), (0, beside)), constant_values=1)
    return x * ops.expand_dims(mask, 1)


def _states(cell, h, c):
    """The list of a cell's states, from what the operation gives."""
    memories = memories_of(cell)
    states = [h, *(ops.split(c, memories, axis=1) if memories else [])]
    sizes = cell.state_size[: len(states)]  # without the memory below, which a level only reads
    return [_of_size(state, size) for state, size in zip(states, sizes, strict=True)]


def _of_each_unit(state, units):
    """A state with a value for each unit, also where it has one for all: a clock."""
    return state if state.shape[1] == units else ops.repeat(state, units, axis=1)


def _of_size(state, size):
    """The reverse."""
    return state if state.shape[1] == size else state[:, :size]
