"""A layer for every cell: `PeepholeLSTM(64)` is `RNN(PeepholeLSTMCell(64))` under a name of its own."""

import inspect
import re
from typing import Any

import keras

from keras_gates._arguments import arguments_of, check_rate, resolve, signature_of
from keras_gates.cells.base import GatedCell, check_units_alone_by_position, register
from keras_gates.cells.clockwork import ClockworkCell
from keras_gates.cells.depth_gated import DepthGatedLSTMCell
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
from keras_gates.layers.rnn import RNN


def arguments_of_rnn() -> dict[str, inspect.Parameter]:
    """The parameters of `keras.layers.RNN` without the cell, as keyword-only ones."""
    parameters = inspect.signature(keras.layers.RNN.__init__).parameters
    own = [name for name in parameters if name not in ("self", "cell", "kwargs")]
    return {name: parameters[name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for name in own}


class CellLayer(RNN):
    """Base of the layers by name: takes the arguments of its cell and of `RNN` in one call.

    A subclass only sets `cell_class`. `dtype` and `trainable` apply to the layer and to its cell.
    Every argument of the cell can be read as an attribute of the layer; activations and dropout rates
    can also be set, and apply from the next call on.

    `use_cudnn` of Keras' layers is accepted and has no effect; if it is true, that is an error.

    Raises:
        TypeError: an argument is not given by name, or does not apply to this cell.
        ValueError: an argument is unknown or out of its range, or `use_cudnn` is true.
    """

    cell_class: type[GatedCell]

    def __new__(cls, *args, **kwargs):
        check_units_alone_by_position(cls.__name__, args, kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, units: int, **kwargs: Any) -> None:
        if kwargs.pop("use_cudnn", "auto") is True:
            raise ValueError(
                f"`use_cudnn=True` is not available: {type(self).__name__} has no cuDNN path. Leave it out; "
                "docs/migration.md says what else differs from Keras."
            )
        arguments = {*arguments_of(self.cell_class), *self.cell_class.without, "implementation"}
        of_cell = {name: kwargs.pop(name) for name in list(kwargs) if name in arguments}
        shared = {name: kwargs[name] for name in ("dtype", "trainable") if name in kwargs}
        # Without a number, as in Keras, so that the paths of the weights are those of Keras' layers.
        name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", self.cell_class.__name__).lower()
        super().__init__(self.cell_class(units, name=name, **of_cell, **shared), **kwargs)

    def get_config(self):
        config = super().get_config()
        cell = config.pop("cell")["config"]
        penalty = keras.regularizers.serialize(self.activity_regularizer)
        own = {name: cell[name] for name in arguments_of(self.cell_class)}
        return {**own, **config, "activity_regularizer": penalty}


def _argument_of_cell(name):
    """A property of a layer that gives access to an argument of its cell."""

    def read(layer):
        return getattr(layer.cell, name)

    def set_(layer, value):
        if name.endswith("dropout"):
            value = check_rate(name, value)
        elif name.endswith("activation"):
            value = resolve(name, value)
        else:
            raise AttributeError(
                f"`{name}` of {type(layer).__name__} is fixed when the layer is made; only activations and "
                f"dropout rates can be set later; got {value!r}."
            )
        setattr(layer.cell, name, value)

    return property(read, set_, doc=f"`{name}` of the cell.")


def layer_of(cell_class: type[GatedCell]) -> type[CellLayer]:
    """The layer class for a cell class: `PeepholeLSTM` for `PeepholeLSTMCell`, registered for saving.

    Use it for your own cells too; assign the result to its name, in the module that defines it.
    """
    name = cell_class.__name__.removesuffix("Cell")
    own = {"weight_dropout": inspect.signature(RNN).parameters["weight_dropout"]}
    arguments = {**arguments_of(cell_class), **arguments_of_rnn(), **own}
    about = (
        f"`keras_gates.RNN({cell_class.__name__}(…))` in one call, saved and loaded under its own name.\n\n"
    )
    body = {
        **{argument: _argument_of_cell(argument) for argument in arguments_of(cell_class)},
        "cell_class": cell_class,
        "__module__": __name__,
        "__signature__": signature_of(arguments),
        "__doc__": about
        + "The arguments are those of the cell and of `keras_gates.RNN`. The cell:\n\n"
        + inspect.cleandoc(cell_class.__doc__),
    }
    return register()(type(name, (CellLayer,), body))


SimpleRNN = layer_of(SimpleRNNCell)
LSTM = layer_of(LSTMCell)
PeepholeLSTM = layer_of(PeepholeLSTMCell)
PeepholeOnlyLSTM = layer_of(PeepholeOnlyLSTMCell)
CoupledLSTM = layer_of(CoupledLSTMCell)
GRU = layer_of(GRUCell)
IndRNN = layer_of(IndRNNCell)
CoupledPeepholeLSTM = layer_of(CoupledPeepholeLSTMCell)
NoInputGateLSTM = layer_of(NoInputGateLSTMCell)
NoForgetGateLSTM = layer_of(NoForgetGateLSTMCell)
NoOutputGateLSTM = layer_of(NoOutputGateLSTMCell)
NoInputActivationLSTM = layer_of(NoInputActivationLSTMCell)
NoOutputActivationLSTM = layer_of(NoOutputActivationLSTMCell)
FullGateRecurrenceLSTM = layer_of(FullGateRecurrenceLSTMCell)
MinimalGated = layer_of(MinimalGatedCell)
Clockwork = layer_of(ClockworkCell)
DepthGatedLSTM = layer_of(DepthGatedLSTMCell)
LayerNormSimpleRNN = layer_of(LayerNormSimpleRNNCell)
LayerNormLSTM = layer_of(LayerNormLSTMCell)
LayerNormGRU = layer_of(LayerNormGRUCell)
JANET = layer_of(JANETCell)
MinLSTM = layer_of(MinLSTMCell)
MinGRU = layer_of(MinGRUCell)
SLSTM = layer_of(SLSTMCell)
