"""Which cells have kernels, and what the operations need to know of one."""

import numbers
from collections.abc import Callable
from functools import partial

import keras
from keras import ops

from keras_gates.cells.clockwork import ClockworkCell
from keras_gates.cells.gru import GRUCell, MinimalGatedCell
from keras_gates.cells.indrnn import IndRNNCell
from keras_gates.cells.janet import JANETCell
from keras_gates.cells.layer_norm import LayerNormGRUCell, LayerNormLSTMCell, LayerNormSimpleRNNCell
from keras_gates.cells.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell, PeepholeOnlyLSTMCell
from keras_gates.cells.min_rnn import MinGRUCell, MinLSTMCell
from keras_gates.cells.odyssey import (
    CoupledPeepholeLSTMCell,
    FullGateRecurrenceLSTMCell,
    NoForgetGateLSTMCell,
    NoInputActivationLSTMCell,
    NoInputGateLSTMCell,
    NoOutputActivationLSTMCell,
    NoOutputGateLSTMCell,
)
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.cells.slstm import SLSTMCell

DEFAULTS = {
    "activation": "tanh",
    "output_activation": "tanh",
    "vector_names": "",
    "update_writes": False,
    "output_previous": False,
    "constant": 0.0,
}
_ACTIVATIONS = {
    "tanh": keras.activations.tanh,
    "linear": keras.activations.linear,
    "relu": keras.activations.relu,
}


def _activation(function):
    return next((name for name, known in _ACTIVATIONS.items() if function is known), None)


def _named(name):
    return lambda cell: {"cell": name}


def _independent(cell):
    # The kernels drop units of h on the way into a matrix product only.
    return None if cell.recurrent_dropout else {"cell": "independent", "vector_names": "u"}


def _lstm(cell):
    return {"cell": "lstm", "output_activation": _activation(cell.activation)}


def _with_peepholes(name, **departures):
    def described(cell):
        if cell.peephole == "full" and cell.peepholes:
            return {**_full_peepholes(cell), **departures} if name == "lstm" else None
        return {
            "cell": f"{name}_peepholes" if cell.peepholes else name,
            "output_activation": _activation(cell.activation),
            "vector_names": "".join(cell.peepholes),
            "output_previous": cell.output_peephole == "previous",
            **departures,
        }

    return described


def _full_peepholes(cell):
    current = cell.output_peephole == "current"
    return {
        "cell": "full_peepholes" if current else "full_peepholes_previous",
        "output_activation": _activation(cell.activation),
    }


def _full_gate_recurrence(cell):
    if cell.peephole != "diagonal":
        return None
    return {**_with_peepholes("lstm")(cell), "cell": "full_gate_recurrence"}


def _clockwork(cell):
    return {"cell": "clockwork", "vector_names": "p", "constant": float(cell.cycle)}


def _peephole_only(cell):
    return {"cell": "peephole_only", "output_activation": _activation(cell.output_activation)}


def _gru(cell):
    form = "after" if cell.reset_after else "before"
    return {"cell": f"gru_reset_{form}", "update_writes": cell.update == "write"}


def _slstm(cell):
    return {"cell": "slstm" if cell.forget == "sigmoid" else "slstm_exponential"}


def _janet(cell):
    return {"cell": "janet", "constant": float(cell.beta)} if isinstance(cell.beta, numbers.Real) else None


def _layer_norm_simple(cell):
    return {"cell": "layer_norm_simple", "vector_names": "n", "constant": float(cell.epsilon)}


def _layer_norm_gru(cell):
    return {
        "cell": "layer_norm_gru",
        "vector_names": "urnURQ",
        "update_writes": cell.update == "write",
        "constant": float(cell.epsilon),
    }


def _layer_norm_lstm(cell):
    return {
        "cell": "layer_norm_lstm" if cell.carry == "plain" else "layer_norm_lstm_normalized",
        "vector_names": "ifgoIFGOsb",
        "constant": float(cell.epsilon),
    }


_DESCRIBED: dict[type[keras.Layer], Callable] = {
    SimpleRNNCell: _named("simple"),
    IndRNNCell: _independent,
    LSTMCell: _lstm,
    PeepholeLSTMCell: _with_peepholes("lstm"),
    PeepholeOnlyLSTMCell: _peephole_only,
    CoupledLSTMCell: _with_peepholes("coupled"),
    CoupledPeepholeLSTMCell: _with_peepholes("coupled"),
    NoInputGateLSTMCell: _with_peepholes("no_input_gate"),
    NoForgetGateLSTMCell: _with_peepholes("no_forget_gate"),
    NoOutputGateLSTMCell: _with_peepholes("no_output_gate"),
    NoInputActivationLSTMCell: _with_peepholes("lstm", activation="linear"),
    NoOutputActivationLSTMCell: _with_peepholes("lstm", output_activation="linear"),
    GRUCell: _gru,
    MinimalGatedCell: _named("minimal_gated"),
    JANETCell: _janet,
    MinGRUCell: _named("min_gru"),
    MinLSTMCell: _named("min_lstm"),
    SLSTMCell: _slstm,
    LayerNormSimpleRNNCell: _layer_norm_simple,
    LayerNormGRUCell: _layer_norm_gru,
    LayerNormLSTMCell: _layer_norm_lstm,
    ClockworkCell: _clockwork,
    FullGateRecurrenceLSTMCell: _full_gate_recurrence,
}

# Weights with one number for each unit (of a gate), in the order in which the kernels' `vectors` hold them,
# and how many rows each takes. Peepholes are left out: a cell has some of them or none.
_ROWS: dict[type[keras.Layer], dict[str, int]] = {
    IndRNNCell: {"recurrent_kernel": 1},
    LayerNormSimpleRNNCell: {"gamma": 1},
    LayerNormGRUCell: {"kernel_gamma": 3, "recurrent_gamma": 3},
    LayerNormLSTMCell: {"kernel_gamma": 4, "recurrent_gamma": 4, "state_gamma": 1, "state_beta": 1},
}

# Cells for the self-test of new kernels: each class, and options until every kernel has its turn.
EXAMPLES = [
    *_DESCRIBED,
    partial(SimpleRNNCell, activation="relu"),
    partial(IndRNNCell, activation="tanh"),
    partial(LSTMCell, activation="linear"),
    partial(PeepholeLSTMCell, peepholes=("o",), output_peephole="previous"),
    *(
        partial(cls, peepholes=())
        for cls in (NoInputGateLSTMCell, NoForgetGateLSTMCell, NoOutputGateLSTMCell)
    ),
    partial(GRUCell, reset_after=False, update="write"),
    partial(JANETCell, beta=1.5),
    partial(LayerNormGRUCell, update="write"),
    partial(LayerNormLSTMCell, carry="normalized"),
    partial(PeepholeLSTMCell, peephole="full"),
    partial(PeepholeLSTMCell, peephole="full", output_peephole="previous"),
    partial(SLSTMCell, forget="exponential"),
]


def describe(cell):
    """The attributes by which the operations know a cell; None if there is no kernel for it.

    A subclass may have other equations, so only the classes themselves count.
    """
    describe_this = _DESCRIBED.get(type(cell))
    if describe_this is None or (cell.compute_dtype, cell.variable_dtype) != ("float32", "float32"):
        return None
    if getattr(cell, "recurrent_activation", keras.activations.sigmoid) is not keras.activations.sigmoid:
        return None
    if cell.dropout_per_gate and (cell.dropout or cell.recurrent_dropout):
        return None  # the kernels take one mask for all gates
    described = describe_this(cell)
    if described is None:
        return None
    described = {**DEFAULTS, "activation": _activation(cell.activation), **described}
    return None if None in described.values() else described


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
        of_gates = recurrent_kernel[units:]
        found["recurrent_kernel"] = recurrent_kernel[:units]
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
    if type(cell) is FullGateRecurrenceLSTMCell:  # of h, i, f, o; g depends on h alone
        of_i, of_f, of_o = ops.split(cell.gate_kernel.value, 3, axis=1)
        return ops.concatenate(
            [kernel, ops.concatenate([of_i, of_f, ops.zeros_like(of_f), of_o], axis=1)], axis=0
        )
    return kernel


_FULL_PEEPHOLES = ("full_peepholes", "full_peepholes_previous")


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
