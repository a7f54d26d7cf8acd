"""Record what recurrent layers compute: their loops are replaced by one that keeps all of it."""

import contextlib
import functools
import itertools
import math
from dataclasses import dataclass

import keras
from keras import ops

from keras_gates.cells.gru import GRUCell
from keras_gates.cells.lstm import LSTMCell
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.layers.stepping import (
    advance,
    attributes,
    cells_of,
    levels_by_place,
    name_states,
    output_of,
    where_step,
)
from keras_gates.opened.places import unused


@dataclass(frozen=True)
class Record:
    """What a recurrent layer computed in one call.

    Attributes:
        cells: the cells of the layer by place: the place of the layer, or for a stack `place/0`, `place/1`, …
        readings: for each cell `{"states": [...], "gates": {...}}`, every tensor of shape `(time, batch, …)`
            in the order of the input.
        mask: shape `(time, batch)`, false at masked steps, or None.
    """

    cells: dict
    readings: list
    mask: object

    def states_by_name(self, states=None):
        """By place of the cell, its states by name, or other tensors under these names."""
        states = [reading["states"] for reading in self.readings] if states is None else states
        return {
            place: name_states(cell, values)
            for (place, cell), values in zip(self.cells.items(), states, strict=True)
        }

    def everything(self):
        """By place of the cell, its gates and states by name."""
        named = self.states_by_name()
        return {
            place: {**reading["gates"], **named[place]}
            for place, reading in zip(self.cells, self.readings, strict=True)
        }


@contextlib.contextmanager
def recording(layers, nudges=None):
    """Within the context, recurrent layers keep what they compute; yields a dict that is filled with it.

    Args:
        layers: by place, the layer and its `reporting_cells`.
        nudges: by place, what `run_and_keep` adds to the states.

    Yields:
        A `Record` by place. A layer that is called again in the same pass is entered again, as `place#2`.
    """
    records = {}

    def loop(place, layer, cells, sequences, initial_state, mask, training=False):
        place = unused(place, records)
        flags = None if mask is None else ops.swapaxes(ops.cast(keras.tree.flatten(mask)[0], "bool"), 0, 1)
        readings, final_states = run_and_keep(
            cells,
            ops.swapaxes(sequences, 0, 1),
            initial_state,
            flags,
            reverse=layer.go_backwards,
            nudges=nudges and nudges[place],
        )
        records[place] = Record(levels_by_place(place, cells), readings, flags)
        outputs = _outputs(readings[-1], flags, layer)
        return outputs[:, -1], outputs, final_states

    with contextlib.ExitStack() as stack:
        for place, (layer, cells) in layers.items():
            # On a GPU, Bidirectional has a loop of its own that bypasses those of its two layers.
            stand_in = functools.partial(loop, place, layer, cells)
            stack.enter_context(attributes(layer, inner_loop=stand_in, use_cudnn=False))
        yield records


def _outputs(reading, mask, layer):
    """The outputs of the layer, batch first and in the order of processing, as in `keras.layers.RNN`."""
    outputs = output_of(reading)
    if mask is not None:
        # Before the first unmasked step there is no output to repeat, whatever the initial states.
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


# -- cells that report their gates


def reporting_cells(layer):
    """The cells that a layer steps through, lowest first, as cells that report their gates.

    Keras' own are replaced by cells of this package on the same weights; all others are returned unchanged.
    """
    return [_reporting(cell) for cell in cells_of(layer)]


def _reporting(cell):
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


# -- the loop


def run_and_keep(cells, sequences, initial_state, mask, reverse=False, nudges=None):
    """Run a stack of cells over a sequence and keep every state and gate of every step.

    Args:
        cells: lowest first.
        sequences: the inputs, shape `(time, batch, …)`.
        initial_state: as `keras.layers.RNN` holds it: the states, or one list of states for each cell.
        mask: shape `(time, batch)`, or None. A step where it is false changes nothing.
        reverse: whether the last step comes first.
        nudges: what is added to each new state, a list for each cell of tensors `(time, batch, size)`.

    Returns:
        A reading for each cell: `{"states": [...], "gates": {...}}`, of shape `(time, batch, …)` in the
        order of the input; and the final states, nested as `initial_state`.
    """
    start = [initial_state] if len(cells) == 1 and not _is_stacked(initial_state) else initial_state
    start = [list(states) if keras.tree.is_nested(states) else [states] for states in start]
    # One step, only to know which gates there are; its values are not used.
    example = advance(cells, sequences[0], start)
    carry = [
        {"states": states, "gates": keras.tree.map_structure(ops.zeros_like, reading["gates"])}
        for states, reading in zip(start, example, strict=True)
    ]
    steps = {"inputs": sequences}
    if mask is not None:
        steps["counts"] = mask
    if nudges is not None:
        steps["nudges"] = nudges

    def step(before, now):
        states = [reading["states"] for reading in before]
        after = advance(cells, now["inputs"], states, now.get("nudges"))
        if "counts" in now:
            choose = functools.partial(where_step, now["counts"])
            after = keras.tree.map_structure(choose, after, before)
        # The TensorFlow backend stacks only what has the structure of the carry.
        return after, after

    packed, unpack = _packed(steps)
    last, readings = ops.scan(lambda before, now: step(before, unpack(now)), carry, packed, reverse=reverse)
    states = keras.tree.flatten([reading["states"] for reading in last])
    return readings, keras.tree.pack_sequence_as(initial_state, states)


def _packed(sequences):
    """A dict or list of sequences concatenated into one, and the function that splits one step of it.

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
