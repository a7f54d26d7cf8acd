"""Which cells the kernels know, and how they are told of one."""

import numbers

import keras

from keras_gates.cells.gru import GRUCell, MinimalGatedCell
from keras_gates.cells.indrnn import IndRNNCell
from keras_gates.cells.janet import JANETCell
from keras_gates.cells.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell, PeepholeOnlyLSTMCell
from keras_gates.cells.min_rnn import MinGRUCell, MinLSTMCell
from keras_gates.cells.odyssey import (
    CoupledPeepholeLSTMCell,
    NoForgetGateLSTMCell,
    NoInputActivationLSTMCell,
    NoInputGateLSTMCell,
    NoOutputActivationLSTMCell,
    NoOutputGateLSTMCell,
)
from keras_gates.cells.simple import SimpleRNNCell

DEFAULTS = {
    "activation": "tanh",
    "output_activation": "tanh",
    "peephole_gates": "",
    "reset_after": False,
    "update_writes": False,
    "output_previous": False,
    "beta": 0.0,
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
    return None if cell.recurrent_dropout else {"cell": "independent", "peephole_gates": "n"}


def _lstm(cell):
    return {"cell": "lstm", "output_activation": _activation(cell.activation)}


def _with_peepholes(name, **departures):
    def described(cell):
        if cell.peephole != "diagonal":
            return None
        return {
            "cell": name,
            "output_activation": _activation(cell.activation),
            "peephole_gates": "".join(cell.peepholes),
            "output_previous": cell.output_peephole == "previous",
            **departures,
        }

    return described


def _peephole_only(cell):
    return {"cell": "peephole_only", "output_activation": _activation(cell.output_activation)}


def _gru(cell):
    return {"cell": "gru", "reset_after": bool(cell.reset_after), "update_writes": cell.update == "write"}


def _janet(cell):
    return {"cell": "janet", "beta": float(cell.beta)} if isinstance(cell.beta, numbers.Real) else None


_DESCRIBED = {
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
}


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
