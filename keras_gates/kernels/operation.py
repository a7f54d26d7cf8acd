"""The kernels as one operation of the backend at hand: `keras_gates.RNN` runs a sequence through it."""

import functools
import importlib
import logging

import keras
from keras import ops

from keras_gates.kernels import build, plain
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


def run(description, layer, cell, keep, sequences, initial_state, mask, training):
    """See `keras_gates.kernels.fused_loop`; `cell` is the layer's, or the one that it wraps.

    `keep` is what zoneout keeps, None or of shape `(batch, time, states·units)`.
    """
    plain.remember(cell, description)
    x = ops.convert_to_tensor(sequences)
    recurrent_mask = None
    if training and cell.dropout:
        x = x * ops.expand_dims(cell.get_dropout_mask(x[:, 0]), 1)
    if training and cell.recurrent_dropout:
        recurrent_mask = cell.get_recurrent_dropout_mask(initial_state[0])
    absent, memories = ops.zeros((0,)), [_of_each_unit(state, cell.units) for state in initial_state[1:]]
    inputs = {
        "x": x,
        "mask": ops.zeros((0,), "bool") if mask is None else ops.cast(mask, "bool"),
        **weights_of(cell, description),
        "h": initial_state[0],
        "c": ops.concatenate(memories, axis=1) if memories else absent,
        "recurrent_mask": absent if recurrent_mask is None else recurrent_mask,
        "keep": absent if keep is None else keep,
    }
    narrow = layer.compute_dtype == "bfloat16"
    if narrow:  # the products alone: what the operation takes and gives is float32
        inputs = {
            name: tensor if name == "mask" else ops.cast(tensor, "float32") for name, tensor in inputs.items()
        }
    attributes = {
        **description,
        "return_sequences": layer.return_sequences,
        "go_backwards": layer.go_backwards,
        "zero_output_for_mask": bool(layer.zero_output_for_mask),
        "bfloat16_products": narrow,
    }
    outputs, last, h, c = door().forward(attributes, inputs, training)
    states = [h, *(ops.split(c, len(memories), axis=1) if memories else [])]
    states = [_of_size(state, size) for state, size in zip(states, cell.state_size, strict=True)]
    outputs = outputs if layer.return_sequences else ops.expand_dims(last, 1)
    return keras.tree.map_structure(
        lambda result: ops.cast(result, layer.compute_dtype), (last, outputs, states)
    )


def _of_each_unit(state, units):
    """A state with a value for each unit, also where it has one for all: a clock."""
    return state if state.shape[1] == units else ops.repeat(state, units, axis=1)


def _of_size(state, size):
    """The reverse."""
    return state if state.shape[1] == size else state[:, :size]
