"""Stand inside a model while it runs: every recurrent layer takes one loop that keeps all it computes."""

import contextlib
import functools
import itertools
import math

import keras
from keras import ops

from keras_gates.cells.gru import GRUCell
from keras_gates.cells.lstm import LSTMCell
from keras_gates.cells.simple import SimpleRNNCell


class UnreadableModelError(ValueError):
    """A model in which there is nothing recurrent to look at."""


# -- finding the layers


def recurrent_layers(model):
    """Every `keras.layers.RNN` in a model or layer by its place, such as `lstm` or `bidirectional/forward`.

    Raises:
        TypeError: `model` is no Keras model or layer.
        UnreadableModelError: nothing in it is recurrent.
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"Expected a Keras model or layer; got {model!r} of type {type(model).__name__}.")
    found = layers_by_place(model, lambda layer: isinstance(layer, keras.layers.RNN))
    if not found:
        raise UnreadableModelError(
            f"Nothing in {type(model).__name__} {model.name!r} is recurrent: it holds no keras.layers.RNN."
        )
    return found


def layers_by_place(model, wanted):
    """The layers in a model for which `wanted(layer)` holds, each once, by their places."""
    found = {}
    for place, layer in _walk(model, (), wanted):
        if not any(layer is other for other in found.values()):
            found[unused(place, found)] = layer
    return found


def _walk(layer, path, wanted):
    if wanted(layer):
        yield "/".join(path) or layer.name, layer
        return
    for label, child in _children(layer):
        yield from _walk(child, (*path, label), wanted)


def _children(layer):
    if isinstance(layer, keras.layers.Bidirectional):
        return [("forward", layer.forward_layer), ("backward", layer.backward_layer)]
    if isinstance(layer, keras.Model):
        return [(child.name, child) for child in layer.layers]
    # Only models tell their layers publicly; `tests/test_keras_contract.py` holds Keras to this one.
    return [(child.name, child) for child in layer._flatten_layers(include_self=False, recursive=False)]


def unused(name, taken):
    """`name`, or `name#2`, … if it is taken: layers may share a name, or be called more than once."""
    count = 2
    candidate = name
    while candidate in taken:
        candidate = f"{name}#{count}"
        count += 1
    return candidate


# -- standing in for the layers' loops


@contextlib.contextmanager
def attributes(target, **values):
    """Within, `target` has these attributes; past Keras' tracking, which has no part in it."""
    kept = {name: vars(target)[name] for name in values if name in vars(target)}
    vars(target).update(values)
    try:
        yield
    finally:
        for name in values:
            del vars(target)[name]
        vars(target).update(kept)


@contextlib.contextmanager
def watching(layers, nudges=None):
    """Within, recurrent layers run `sweep`; yields a dict that fills with what they computed.

    Args:
        layers: by place, the layer and its `levels_of`.
        nudges: by place, what `sweep` adds to the states.

    Yields:
        By place: `readings` as `sweep` gives them, the `levels` of cells they belong to, and the `mask`, time
        first. A layer called again in the same pass is entered again, as `place#2`.
    """
    seen = {}

    def loop(place, layer, levels, sequences, initial_state, mask, training=False):
        place = unused(place, seen)
        flags = None if mask is None else ops.swapaxes(ops.cast(keras.tree.flatten(mask)[0], "bool"), 0, 1)
        readings, final_states = sweep(
            levels,
            ops.swapaxes(sequences, 0, 1),
            initial_state,
            flags,
            reverse=layer.go_backwards,
            nudges=nudges and nudges[place],
        )
        seen[place] = {"levels": levels, "readings": readings, "mask": flags}
        outputs = _outputs(readings[-1], flags, layer)
        return outputs[:, -1], outputs, final_states

    with contextlib.ExitStack() as stack:
        for place, (layer, levels) in layers.items():
            # Bidirectional has a way of its own on a GPU, past the loops of its two layers.
            stand_in = functools.partial(loop, place, layer, levels)
            stack.enter_context(attributes(layer, inner_loop=stand_in, use_cudnn=False))
        yield seen


def _outputs(reading, mask, layer):
    """What the layer gives out, batch first and in the order of processing, as `keras.layers.RNN` does."""
    outputs = output_of(reading)
    if mask is not None:
        # Before the first step that counts there is no output to repeat, whatever the states start from.
        counts = mask if layer.zero_output_for_mask else _has_begun(mask, reverse=layer.go_backwards)
        outputs = where_step(counts, outputs, ops.zeros_like(outputs))
    outputs = ops.swapaxes(outputs, 0, 1)
    return ops.flip(outputs, axis=1) if layer.go_backwards else outputs


def _has_begun(mask, reverse):
    counted = ops.cast(mask, "int32")
    if reverse:
        counted = ops.flip(counted, axis=0)
    counted = ops.cumsum(counted, axis=0)
    return (ops.flip(counted, axis=0) if reverse else counted) > 0


# -- one loop that keeps everything


def levels_of(cell):
    """The cells that a layer steps through, lowest first, as cells that say what their gates were.

    Keras' own are taken over by ours, on the very same weights; a cell that says nothing stays as it is.
    """
    stacked = isinstance(cell, keras.layers.StackedRNNCells)
    return [_readable(level) for level in (cell.cells if stacked else [cell])]


def _readable(cell):
    if isinstance(cell, keras.layers.LSTMCell):
        twin = LSTMCell(cell.units, recurrent_activation=cell.recurrent_activation, **_common(cell))
    elif isinstance(cell, keras.layers.GRUCell):
        twin = GRUCell(
            cell.units,
            recurrent_activation=cell.recurrent_activation,
            reset_after=cell.reset_after,
            **_common(cell),
        )
    elif isinstance(cell, keras.layers.SimpleRNNCell):
        twin = SimpleRNNCell(cell.units, **_common(cell))
    else:
        return cell
    # The variables themselves, not their values, so that the twin follows the layer's training.
    twin.kernel, twin.recurrent_kernel, twin.bias = cell.kernel, cell.recurrent_kernel, cell.bias
    twin.built = True
    return twin


def _common(cell):
    return {"activation": cell.activation, "use_bias": cell.use_bias, "dtype": cell.dtype_policy}


def sweep(levels, sequences, initial_state, mask, reverse=False, nudges=None):
    """Take a sequence through a stack of cells and keep every state and gate of every step.

    Args:
        levels: the cells, lowest first.
        sequences: the inputs, shape `(time, batch, …)`.
        initial_state: as `keras.layers.RNN` holds it: the states, or one list of states for each level.
        mask: which steps count, shape `(time, batch)`, or None. One that does not count changes nothing.
        reverse: whether the last step comes first.
        nudges: what is added to each new state, a list for each level of tensors `(time, batch, size)`.

    Returns:
        A reading for each level, `{"states": [...], "gates": {...}}`, of shape `(time, batch, …)` in the
        order of the input; and the final states, as nested as `initial_state`.
    """
    start = [initial_state] if len(levels) == 1 and not _is_stacked(initial_state) else initial_state
    start = [list(states) if keras.tree.is_nested(states) else [states] for states in start]
    # A dry step says which gates there are; its values are not used.
    dry = _advance(levels, sequences[0], start)
    carry = [
        {"states": states, "gates": keras.tree.map_structure(ops.zeros_like, reading["gates"])}
        for states, reading in zip(start, dry, strict=True)
    ]
    steps = {"inputs": sequences}
    if mask is not None:
        steps["counts"] = mask
    if nudges is not None:
        steps["nudges"] = nudges

    def step(before, now):
        states = [reading["states"] for reading in before]
        after = _advance(levels, now["inputs"], states, now.get("nudges"))
        if "counts" in now:
            choose = functools.partial(where_step, now["counts"])
            after = keras.tree.map_structure(choose, after, before)
        # The TensorFlow backend stacks what has the structure of the carry, and no more.
        return after, after

    packed, unpack = _packed(steps)
    last, readings = ops.scan(lambda before, now: step(before, unpack(now)), carry, packed, reverse=reverse)
    states = keras.tree.flatten([reading["states"] for reading in last])
    return readings, keras.tree.pack_sequence_as(initial_state, states)


def _packed(sequences):
    """A dict or list of sequences side by side in one, and the function that takes apart one step of it.

    The TensorFlow backend scans several sequences only if their length is known when the graph is made.
    """
    flat = keras.tree.flatten(sequences)
    dtype = next(x.dtype for x in flat if "float" in keras.backend.standardize_dtype(x.dtype))
    rows = [ops.reshape(ops.cast(x, dtype), (*ops.shape(x)[:2], math.prod(x.shape[2:]))) for x in flat]
    ends = list(itertools.accumulate(row.shape[-1] for row in rows))

    def unpack(row):
        parts = [
            ops.cast(ops.reshape(row[:, start:end], (-1, *x.shape[2:])), x.dtype)
            for x, start, end in zip(flat, [0, *ends], ends, strict=False)
        ]
        return keras.tree.pack_sequence_as(sequences, parts)

    return ops.concatenate(rows, axis=-1), unpack


def _is_stacked(initial_state):
    return any(keras.tree.is_nested(states) for states in initial_state)


def where_step(counts, a, b):
    """`a` where the step counts, else `b`: `counts` has the leading axes of both, and no others."""
    return ops.where(ops.reshape(counts, ops.shape(counts) + (1,) * (len(a.shape) - len(counts.shape))), a, b)


def _advance(levels, inputs, start, nudges=None):
    readings = []
    for level, (cell, states) in enumerate(zip(levels, start, strict=True)):
        output, states, gates = _report(cell, inputs, states)
        is_state = output is states[0]
        if nudges is not None:
            states = [state + nudge for state, nudge in zip(states, nudges[level], strict=True)]
        reading = {"states": states, "gates": gates if is_state else {**gates, "output": output}}
        inputs = output_of(reading)
        readings.append(reading)
    return readings


def _report(cell, inputs, states):
    """What the cell's `call` computes, through its `__call__`, so that Keras casts as in the model."""
    if not hasattr(cell, "call_with_gates"):
        output, states = cell(inputs, states)
        return output, list(states) if keras.tree.is_nested(states) else [states], {}
    with attributes(cell, call=cell.call_with_gates):
        return cell(inputs, states)


def output_of(reading):
    """The output that goes with a reading: the first state, unless the cell gives out something else."""
    return reading["gates"].get("output", reading["states"][0])


def name_states(cell, states):
    """A cell's states by name: `state_0`, … for a cell that has not named them."""
    names = getattr(cell, "states", None)
    if not isinstance(names, (tuple, list)) or len(names) != len(states):
        names = [f"state_{k}" for k in range(len(states))]
    return dict(zip(names, states, strict=True))
