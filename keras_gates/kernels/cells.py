"""Which cells the kernels know, and how they are told of one."""

import keras

from keras_gates.gru import GRUCell
from keras_gates.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell
from keras_gates.odyssey import CoupledPeepholeLSTMCell
from keras_gates.simple import SimpleRNNCell

_DEFAULTS = {"peephole_gates": "", "reset_after": False, "update_writes": False, "output_previous": False}


def _simple(cell):
    return {"cell": "simple"}


def _lstm(cell):
    return {"cell": "lstm"}


def _with_peepholes(name):
    def described(cell):
        if cell.peephole != "diagonal":
            return None
        return {
            "cell": name,
            "peephole_gates": "".join(cell.peepholes),
            "output_previous": cell.output_peephole == "previous",
        }

    return described


def _gru(cell):
    return {"cell": "gru", "reset_after": bool(cell.reset_after), "update_writes": cell.update == "write"}


_DESCRIBED = {
    SimpleRNNCell: _simple,
    LSTMCell: _lstm,
    PeepholeLSTMCell: _with_peepholes("lstm"),
    CoupledLSTMCell: _with_peepholes("coupled"),
    CoupledPeepholeLSTMCell: _with_peepholes("coupled"),
    GRUCell: _gru,
}


def describe(cell):
    """The attributes by which the operations know a cell; None if there is no kernel for it.

    A subclass may have other equations, so only the classes themselves count.
    """
    describe_this = _DESCRIBED.get(type(cell))
    if describe_this is None or (cell.compute_dtype, cell.variable_dtype) != ("float32", "float32"):
        return None
    sigma = getattr(cell, "recurrent_activation", keras.activations.sigmoid)
    if cell.activation is not keras.activations.tanh or sigma is not keras.activations.sigmoid:
        return None
    described = describe_this(cell)
    return None if described is None else {**_DEFAULTS, **described}
