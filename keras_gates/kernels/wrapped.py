"""`ResidualCell` and `ZoneoutCell` around a cell with kernels.

The kernels run the cell inside. They are told what zoneout keeps, which is drawn for all steps at once. The
inputs of all steps are added afterwards.
"""

import keras
from keras import ops

from keras_gates.cells.wrappers import ResidualCell, ZoneoutCell
from keras_gates.kernels.cells import levels_of


def cell_inside(cell):
    """The cell that the kernels run: the one inside any such wrapper, or the cell itself."""
    _, cell = _taken_off(cell)
    return cell.cell if _is_zoned_out(cell) else cell


def _taken_off(cell):
    """The `ResidualCell`s around a cell, the outermost first, and what is inside."""
    residuals = []
    while type(cell) is ResidualCell and cell.compute_dtype == cell.cell.compute_dtype:
        residuals.append(cell)
        cell = cell.cell
    return residuals, cell


def _is_zoned_out(cell):
    """Whether it is a `ZoneoutCell` that the kernels can serve: of states with a value for each unit.

    In a stack, a level reads what the level below it gives before zoneout; the kernels zone out each level.
    """
    if type(cell) is not ZoneoutCell or cell.compute_dtype != cell.cell.compute_dtype:
        return False
    if len(levels_of(cell.cell)) > 1:
        return False
    return all(
        size == cell.output_size for size, rate in zip(cell.state_size, cell.rates, strict=True) if rate
    )


def kept(cell, sequences, training):
    """The share of each old state that a step keeps, `(batch, time, states·units)`; None if it keeps nothing.

    Args:
        cell: a layer's cell.
        sequences: shape `(batch, time, features)`.
        training: whether the shares are drawn, each zero or one; else they are the rates.
    """
    _, cell = _taken_off(cell)
    if type(cell) is not ZoneoutCell or not any(cell.rates):
        return None
    shape = (*ops.shape(sequences)[:2], cell.output_size)
    return ops.concatenate([_shares(cell, rate, shape, training) for rate in cell.rates], axis=-1)


def _shares(cell, rate, shape, training):
    if not training or not rate:
        return ops.full(shape, rate, dtype="float32")
    return ops.cast(keras.random.uniform(shape, seed=cell.seed_generator) < rate, "float32")


def add_inputs(results, layer, sequences, mask, masked_steps_show_states):
    """What a layer's `inner_loop` returns, from what it would return for the cell inside.

    Args:
        results: the last output, the outputs and the states, for the cell inside.
        layer: a `keras_gates.RNN`.
        sequences: shape `(batch, time, features)`.
        mask: None or of shape `(batch, time)`.
        masked_steps_show_states: whether the output of a masked step is the first state, to which nothing is
            added, and not the previous output.
    """
    residuals, _ = _taken_off(layer.cell)
    if not residuals:
        return results
    _, outputs, states = results
    inputs = _inputs_shown(layer, sequences, mask, masked_steps_show_states)
    if not layer.return_sequences:
        inputs = inputs[:, -1:]
    for residual in reversed(residuals):  # from the inside to the outside
        outputs = outputs + residual.added(inputs)
    return outputs[:, -1], outputs, states


def _inputs_shown(layer, sequences, mask, masked_steps_show_states):
    """The input that belongs to each step's output, `(batch, time, features)` in the order of processing.

    Where the output of a masked step is that of the latest step that is not masked, so is its input here, and
    zero where there was none. Else it is zero.
    """
    if layer.go_backwards:
        sequences = ops.flip(sequences, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    if mask is None:
        return sequences
    mask = ops.cast(mask, "bool")
    if layer.zero_output_for_mask or masked_steps_show_states:
        return ops.where(mask[:, :, None], sequences, 0)
    count = ops.cumsum(ops.cast(mask, "int32"), axis=1)  # of the steps so far that are not masked
    time = ops.shape(sequences)[1]
    steps = ops.arange(time, dtype="int32")
    in_order = ops.argsort(
        ops.where(mask, steps, steps + time), axis=1
    )  # those that are not masked come first
    latest = ops.take_along_axis(in_order, ops.maximum(count - 1, 0), axis=1)
    held = ops.take_along_axis(sequences, latest[:, :, None], axis=1)
    return ops.where(count[:, :, None] > 0, held, 0)
