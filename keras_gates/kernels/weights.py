"""A cell's weights as the kernels take them, and back."""

import keras
from keras import ops

from keras_gates.cells.clockwork import ClockworkCell
from keras_gates.cells.depth_gated import UpperLevel
from keras_gates.cells.indrnn import IndRNNCell
from keras_gates.cells.layer_norm import LayerNormGRUCell, LayerNormLSTMCell, LayerNormSimpleRNNCell
from keras_gates.cells.odyssey import FullGateRecurrenceLSTMCell

# Weights with one number for each unit (of a gate), in the order in which the kernels' `vectors` hold them,
# and how many rows each takes. Peepholes are left out: a cell has some of them or none.
_ROWS: dict[type[keras.Layer], dict[str, int]] = {
    IndRNNCell: {"recurrent_kernel": 1},
    UpperLevel: {"depth_own": 1, "depth_below": 1},
    LayerNormSimpleRNNCell: {"gamma": 1},
    LayerNormGRUCell: {"kernel_gamma": 3, "recurrent_gamma": 3},
    LayerNormLSTMCell: {"kernel_gamma": 4, "recurrent_gamma": 4, "state_gamma": 1, "state_beta": 1},
}
_FULL_PEEPHOLES = ("full_peepholes", "full_peepholes_previous")


def weights_of(cell, description):
    """A cell's weights as the kernels take them, by name. What a cell does not have is an empty tensor."""
    vectors = _vectors(cell, description["vector_names"])
    return {
        "kernel": cell.kernel.value,
        "recurrent_kernel": _recurrent_kernel(cell, description["cell"]),
        "bias": ops.zeros(cell.bias_shape) if cell.bias is None else cell.bias.value,
        "vectors": ops.concatenate(vectors) if vectors else ops.zeros((0, cell.units)),
    }


def weights_in(description, kind, units, recurrent_kernel, vectors):
    """The reverse, for a class of cells: the weights that the two tensors hold, a dict by attribute."""
    name = description["cell"]
    if kind is ClockworkCell:
        return {"recurrent_kernel": recurrent_kernel, "period_of_unit": ops.cast(vectors[0], "int32")}
    if name in _FULL_PEEPHOLES:
        return _in_full_peepholes(name, units, recurrent_kernel)
    found = {"recurrent_kernel": recurrent_kernel, "peephole_weights": {}}
    if kind in _ROWS:
        return {**found, **_in_rows(vectors, _ROWS[kind])}
    found["peephole_weights"] = {gate: vectors[row] for row, gate in enumerate(description["vector_names"])}
    if kind is FullGateRecurrenceLSTMCell:
        of_gates = recurrent_kernel[:-units]
        found["recurrent_kernel"] = recurrent_kernel[-units:]
        found["gate_kernel"] = ops.concatenate([of_gates[:, : 2 * units], of_gates[:, 3 * units :]], axis=1)
    return found


def _vectors(cell, names):
    """The weights that act on one unit each, of shape `(rows, units)`; peepholes by their names."""
    if type(cell) is ClockworkCell:
        return [ops.convert_to_tensor(cell.period_of_unit[None], "float32")]
    weights = (
        [getattr(cell, name) for name in _ROWS[type(cell)]]
        if type(cell) in _ROWS
        else [cell.peephole_weights[name] for name in names]
    )
    return [ops.reshape(_value(weight), (-1, cell.units)) for weight in weights]


def _in_rows(vectors, rows_of):
    found, row = {}, 0
    for name, rows in rows_of.items():
        found[name] = ops.reshape(vectors[row : row + rows], (-1,))
        row += rows
    return found


def _value(weight):
    """The tensor of a weight, which is one already where elements of it are dropped."""
    return weight.value if isinstance(weight, keras.Variable) else weight


def _recurrent_kernel(cell, name):
    """What the states are multiplied by. Blocks by which a state does not reach a gate are zero."""
    if type(cell) is ClockworkCell:
        return cell.heard_kernel()
    if cell.recurrent_kernel is None or len(cell.recurrent_kernel.shape) != 2:
        return ops.zeros((0,))
    kernel = _value(cell.recurrent_kernel)
    if name in _FULL_PEEPHOLES:
        return _with_full_peepholes(cell, name, kernel)
    if type(cell) is FullGateRecurrenceLSTMCell:  # of i, f, o, h; g depends on h alone
        of_i, of_f, of_o = ops.split(cell.gate_kernel.value, 3, axis=1)
        return ops.concatenate(
            [ops.concatenate([of_i, of_f, ops.zeros_like(of_f), of_o], axis=1), kernel], axis=0
        )
    return kernel


def _with_full_peepholes(cell, name, kernel):
    """The blocks of h and of c. A fifth gate is what o sees of the memory after the step: its block of h."""
    zeros = ops.zeros((cell.units, cell.units))
    of = {gate: weight.value for gate, weight in cell.peephole_weights.items()}
    i, f, o = (of.get(gate, zeros) for gate in "ifo")
    if name == "full_peepholes_previous":
        return ops.concatenate([kernel, ops.concatenate([i, f, zeros, o], axis=1)], axis=0)
    of_h, of_c = ops.concatenate([kernel, o], axis=1), ops.concatenate([i, f, zeros, zeros, zeros], axis=1)
    return ops.concatenate([of_h, of_c], axis=0)


def _in_full_peepholes(name, units, recurrent_kernel):
    of_h, of_c = recurrent_kernel[:units], recurrent_kernel[units:]
    blocks = ops.split(of_c, of_c.shape[1] // units, axis=1)
    o = blocks[3] if name == "full_peepholes_previous" else of_h[:, 4 * units :]
    return {
        "recurrent_kernel": of_h[:, : 4 * units],
        "peepholes": ("i", "f", "o"),
        "peephole_weights": {"i": blocks[0], "f": blocks[1], "o": o},
    }
