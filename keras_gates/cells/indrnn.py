"""IndRNN: each unit is recurrent only on its own state."""

from typing import Any

import keras

from keras_gates._arguments import Activation, Initializer
from keras_gates.cells.base import register
from keras_gates.cells.simple import SimpleRNNCell


@register("indrnn")
class IndRNNCell(SimpleRNNCell):
    r"""Independently recurrent cell: a unit depends on its own previous state and on no other unit's.

        h' = φ(W x + u ⊙ h + b)

    `recurrent_kernel` is the vector u, shape `(units,)`.

    Args:
        activation: φ, `relu` as in the paper by default.
        recurrent_initializer: initializer of u; uniform in [0, 1] by default. For long sequences with ReLU,
            the paper bounds |u|: pass a `recurrent_constraint` for that.
        units, **kwargs: as in `GatedCell`.
    """

    source = "Li et al. 2018, Independently recurrent neural network (IndRNN)"

    def __init__(
        self,
        units: int,
        *,
        activation: Activation = "relu",
        recurrent_initializer: Initializer = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation=activation,
            recurrent_initializer=recurrent_initializer or keras.initializers.RandomUniform(0.0, 1.0),
            **kwargs,
        )

    @property
    def recurrent_shape(self):
        return (self.units,)

    def recur(self, h, *gates, mask=None):
        return self.recurrent_kernel * (h if mask is None else h * mask)
