"""Replacements for the loop of a recurrent layer: Keras' own loop, or one step.

A layer's loop is the attribute `inner_loop` of its instance, which `keras.layers.RNN.call` calls. While it is
replaced, the model itself runs; so whatever is exported, stepped or traced is the model and not a copy of it.
"""

import contextlib
import functools

import keras
from keras import ops

from keras_gates.cells.inside import attributes
from keras_gates.cells.wrappers import WrapperCell
from keras_gates.layers.attention import AttentionRNN
from keras_gates.layers.pooling import pool_step_of
from keras_gates.layers.rnn import RNN


class CalledTwiceError(ValueError):
    """A layer that is called more than once in a step, so that its states have no unique names."""


@contextlib.contextmanager
def without_dropout(layer):
    """Within the context, a recurrent layer draws no dropout masks; in inference Keras draws unused ones."""
    with contextlib.ExitStack() as stack:
        for cell in cells_of(layer):
            while isinstance(cell, WrapperCell):
                cell = cell.cell
            if hasattr(cell, "recurrent_dropout"):
                stack.enter_context(attributes(cell, dropout=0.0, recurrent_dropout=0.0))
        yield


@contextlib.contextmanager
def plain_loops(layers):
    """Within the context, recurrent layers run Keras' own loop, and draw no dropout masks.

    A graph that is to run anywhere must not contain operations that only this package provides.
    """
    with contextlib.ExitStack() as stack:
        for layer in layers:
            if isinstance(layer, RNN):
                loop = functools.partial(keras.layers.RNN.inner_loop, layer)
                stack.enter_context(attributes(layer, inner_loop=loop))
            stack.enter_context(without_dropout(layer))
        yield


# -- cells and their states


def cells_of(layer):
    """The cells that a recurrent layer steps through, lowest first."""
    return layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]


def levels_by_place(place, cells):
    """The cells of a layer by place: the place of the layer, or for a stack `place/0`, `place/1`, …"""
    return {place if len(cells) == 1 else f"{place}/{k}": cell for k, cell in enumerate(cells)}


def name_states(cell, states):
    """A cell's states by name: `state_0`, … for a cell that has not named them."""
    names = getattr(cell, "states", None)
    if not isinstance(names, (tuple, list)) or len(names) != len(states):
        names = [f"state_{k}" for k in range(len(states))]
    return dict(zip(names, states, strict=True))


def named_states(place, layer, states):
    """The states of a layer, nested as Keras holds them, in one flat dict by place and name."""
    flat, named = keras.tree.flatten(states), {}
    for level, cell in levels_by_place(place, cells_of(layer)).items():
        count = len(keras.tree.flatten(cell.state_size))
        named.update({identifier(level, name): x for name, x in name_states(cell, flat[:count]).items()})
        flat = flat[count:]
    return named


def identifier(*parts):
    """A name that TensorFlow's signatures accept unchanged."""
    return "_".join(parts).replace("/", "_").replace("#", "_")


def where_step(counts, a, b):
    """`a` where the boolean `counts` is true, else `b`: `counts` has the leading axes of both, no others."""
    return ops.where(ops.reshape(counts, ops.shape(counts) + (1,) * (len(a.shape) - len(counts.shape))), a, b)


# -- one step


def advance(cells, inputs, start, nudges=None):
    """One step of a stack of cells.

    Args:
        cells: lowest first.
        inputs: the inputs of the step, shape `(batch, …)`.
        start: the states before the step, a list for each cell.
        nudges: what is added to each new state, nested as `start`; None for nothing.

    Returns:
        A reading for each cell: `{"states": [...], "gates": {...}}`, the states after the step and what else
        the cell reports. `output` is among the gates unless the output is the first state.
    """
    readings = []
    for level, (cell, states) in enumerate(zip(cells, start, strict=True)):
        output, states, gates = _call_with_gates(cell, inputs, states)
        is_state = output is states[0]
        if nudges is not None:
            states = [state + nudge for state, nudge in zip(states, nudges[level], strict=True)]
        reading = {"states": states, "gates": gates if is_state else {**gates, "output": output}}
        inputs = output_of(reading)
        readings.append(reading)
    return readings


def _call_with_gates(cell, inputs, states):
    """What the cell's `call` computes, through its `__call__`, so that Keras casts as in the model."""
    if not hasattr(cell, "call_with_gates"):
        output, states = cell(inputs, states)
        return output, list(states) if keras.tree.is_nested(states) else [states], {}
    with attributes(cell, call=cell.call_with_gates):
        return cell(inputs, states)


def output_of(reading):
    """The output that belongs to a reading: the first state, unless the cell returns something else."""
    return reading["gates"].get("output", reading["states"][0])


class Step:
    """One step of the layers of a model, each from its states before the step to those after it.

    Args:
        states: the states before the step, by name; a layer whose states are missing starts as at the
            beginning of a sequence.
        prepared: what attentions made of their memories in an earlier step (see `prepared` below).

    Attributes:
        before: these states.
        start: by name, the states from which the recurrent layers would start a sequence.
        after: the states after the step, by name: those of the recurrent layers, those of the pooling
            layers, and under a mask the last output of a layer, which it repeats at masked steps.
        gates: what cells report besides their states, by place and name, such as `decoder_alignment`. At
            masked steps it has no meaning.
        prepared: by name, what attentions made of their memories, `Attention.prepare`: as it depends on the
            memory alone, once is enough for all steps.
    """

    def __init__(self, states, prepared=None):
        self.before = states
        self.prepared = dict(prepared or {})
        self.start, self.after, self.gates = {}, {}, {}

    @contextlib.contextmanager
    def of(self, recurrent, poolings):
        """Within the context, the layers, given by place, run one step when they are called."""
        with contextlib.ExitStack() as stack:
            for place, layer in recurrent.items():
                loop = functools.partial(self.recur, place, layer)
                # On a GPU, Bidirectional has a loop of its own that bypasses those of its two layers.
                stack.enter_context(attributes(layer, inner_loop=loop, use_cudnn=False))
                stack.enter_context(without_dropout(layer))
                for k, attention in enumerate(layer.attentions() if isinstance(layer, AttentionRNN) else ()):
                    name = identifier(place, f"prepared_{k}")
                    prepare = functools.partial(self.prepare, name, attention)
                    stack.enter_context(attributes(attention, prepare=prepare))
            for place, layer in poolings.items():
                pool = functools.partial(self.pool, place, layer)
                stack.enter_context(attributes(layer, call=pool))
            yield

    def recur(self, place, layer, sequences, initial_state, mask, training=False):
        """Replaces the loop of a recurrent layer: runs the only step of `sequences`."""
        start = named_states(place, layer, initial_state)
        self._check_called_once(layer, start)
        self.start.update(start)
        states = [self.before.get(name, start[name]) for name in start]
        cells = levels_by_place(place, cells_of(layer))
        readings = advance(list(cells.values()), sequences[:, 0], _by_cell(cells.values(), states))
        for level, reading in zip(cells, readings, strict=True):
            self.gates.update({identifier(level, name): x for name, x in reading["gates"].items()})
        output, new_states = output_of(readings[-1]), keras.tree.flatten([r["states"] for r in readings])
        if mask is not None:
            counts = keras.tree.flatten(mask)[0][:, 0]
            last = identifier(place, "output")
            previous = self.before.get(last, ops.zeros_like(output))
            output = self.after[last] = where_step(counts, output, _repeated(layer, previous, states))
            new_states = [where_step(counts, new, old) for new, old in zip(new_states, states, strict=True)]
        self.after.update(zip(start, new_states, strict=True))
        return output, output[:, None], keras.tree.pack_sequence_as(initial_state, new_states)

    def prepare(self, name, attention, memory):
        """In place of what an attention makes of its memory: what it made in an earlier step."""
        if name in self.prepared:
            return self.prepared[name]
        made = type(attention).prepare(attention, memory)
        if made is not memory and not keras.tree.is_nested(made):
            self.prepared[name] = made
        return made

    def pool(self, place, layer, inputs, mask=None):
        """Replaces the call of a layer that pools over time: runs the only step of `inputs`."""
        prefix = identifier(place, "")
        before = {name[len(prefix) :]: x for name, x in self.before.items() if name.startswith(prefix)}
        pooled, after = pool_step_of(layer)(inputs[:, 0], before, None if mask is None else mask[:, 0])
        after = {identifier(place, name): state for name, state in after.items()}
        self._check_called_once(layer, after)
        self.after.update(after)
        return pooled

    def _check_called_once(self, layer, states):
        if not states.keys().isdisjoint(self.after):
            raise CalledTwiceError(
                f"The layer {layer.name!r} is called more than once in a step; its states lack unique names."
            )


def _repeated(layer, output, states):
    """The output of a layer at a masked step, from the output and the states of the previous step."""
    if layer.zero_output_for_mask:
        return ops.zeros_like(output)
    if keras.backend.backend() == "jax":  # there, Keras repeats the first state as the output
        return _by_cell(cells_of(layer), states)[-1][0]
    return output


def _by_cell(cells, states):
    """A flat list of states as one list for each cell."""
    nested = []
    for cell in cells:
        count = len(keras.tree.flatten(cell.state_size))
        nested.append(states[:count])
        states = states[count:]
    return nested
