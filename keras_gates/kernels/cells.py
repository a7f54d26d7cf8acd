"""Which cells have kernels, and what the operations need to know of one."""

import numbers
from collections.abc import Callable
from functools import partial

import keras

from keras_gates.cells.clockwork import ClockworkCell
from keras_gates.cells.depth_gated import DepthGatedLSTMCell, UpperLevel
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
    "shows_memory": False,
}
_DTYPES = ("float32", "float32"), ("bfloat16", "float32")  # of computing and of variables
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


def _upper_level(cell):
    return {**_lstm(cell), "cell": "upper_level", "vector_names": "ql"}


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


DESCRIBED: dict[type[keras.Layer], Callable] = {
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
    UpperLevel: _upper_level,
}

# Cells for the self-test of new kernels: each class, and options until every kernel has its turn.
EXAMPLES = [
    *DESCRIBED,
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


def levels_of(cell):
    """The cells that the kernels run over the whole sequence, one after the other.

    They are the levels of a stack, from the bottom up; else the cell itself. A level above the first gets h
    and the memory of the level below it as its inputs, side by side.
    """
    return cell.levels if type(cell) is DepthGatedLSTMCell else [cell]


def reads_below(cell):
    """Whether a cell is a level above the first: the memory below it is among its states, but not its own."""
    return type(cell) is UpperLevel


def memories_of(cell):
    """How many states a cell carries from step to step besides h."""
    return len(cell.states) - 1 - reads_below(cell)


def describe(cell):
    """The attributes by which the operations know a cell; None if there is no kernel for it.

    A subclass may have other equations, so only the classes themselves count.
    """
    describe_this = DESCRIBED.get(type(cell))
    if describe_this is None or (cell.compute_dtype, cell.variable_dtype) not in _DTYPES:
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
