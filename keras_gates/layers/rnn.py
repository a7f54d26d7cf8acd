"""The layer that runs a cell over a sequence."""

import keras
from keras import ops

from keras_gates import kernels
from keras_gates._arguments import make_from_config
from keras_gates.cells.base import register


@register()
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` that uses the fused kernels where they are available.

    Takes the same arguments, gives the same results, saves and loads the same way. With `stateful=True`,
    `reset_state` returns to the cell's own initial states, also where these are learned.
    """

    @classmethod
    def from_config(cls, config, custom_objects=None):
        with keras.saving.custom_object_scope(custom_objects or {}):
            return make_from_config(cls, config)

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.layers.InputSpec(ndim=len(sequences_shape))

    def reset_state(self, rows=None):
        """Return to the initial states, in all rows of the batch or in some: where a new text begins.

        Args:
            rows: booleans, shape `(batch,)`: which rows return to them; None for all.

        Raises:
            ValueError: `rows` has another shape.
        """
        if self.states is None:
            return
        batch_size = keras.tree.flatten(self.states)[0].shape[0]
        rows = ops.ones((batch_size,), "bool") if rows is None else ops.convert_to_tensor(rows, "bool")
        if tuple(rows.shape) != (batch_size,):
            raise ValueError(f"`rows` must have the shape {(batch_size,)}; got {tuple(rows.shape)}.")
        start = self.get_initial_state(batch_size)
        for variable, value in zip(keras.tree.flatten(self.states), keras.tree.flatten(start), strict=True):
            each = ops.reshape(rows, (-1,) + (1,) * (len(variable.shape) - 1))
            variable.assign(ops.where(each, value, variable))

    def inner_loop(self, sequences, initial_state, mask, training=False):
        fused = kernels.fused_loop(self, sequences, initial_state, mask, training)
        return super().inner_loop(sequences, initial_state, mask, training) if fused is None else fused
