"""`ResidualCell` around a cell with kernels: they run the cell, then the inputs of all steps are added."""

from keras import ops

from keras_gates.cells.wrappers import ResidualCell


def cell_inside(cell):
    """The cell that the kernels run: the one inside any `ResidualCell`, or the cell itself."""
    while type(cell) is ResidualCell and cell.compute_dtype == "float32":
        cell = cell.cell
    return cell


def add_inputs(results, layer, sequences, mask):
    """What a layer's `inner_loop` returns, from what it would return for the cell inside.

    Args:
        results: the last output, the outputs and the states, for the cell inside.
        layer: a `keras_gates.RNN`.
        sequences: shape `(batch, time, features)`.
        mask: None or of shape `(batch, time)`.
    """
    wrappers = _wrappers(layer.cell)
    if not wrappers:
        return results
    _, outputs, states = results
    inputs = _inputs_shown(layer, sequences, mask)
    if not layer.return_sequences:
        inputs = inputs[:, -1:]
    for wrapper in reversed(wrappers):  # from the inside to the outside
        outputs = outputs + wrapper.added(inputs)
    return outputs[:, -1], outputs, states


def _wrappers(cell):
    """The `ResidualCell`s around the cell inside, the outermost first."""
    found, inside = [], cell_inside(cell)
    while cell is not inside:
        found.append(cell)
        cell = cell.cell
    return found


def _inputs_shown(layer, sequences, mask):
    """The input that belongs to each step's output, `(batch, time, features)` in the order of processing.

    The output of a masked step is zero or that of the latest step that is not masked: so is its input here,
    and zero where there was none.
    """
    if layer.go_backwards:
        sequences = ops.flip(sequences, axis=1)
        mask = None if mask is None else ops.flip(mask, axis=1)
    if mask is None:
        return sequences
    mask = ops.cast(mask, "bool")
    if layer.zero_output_for_mask:
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
