"""The layer that runs a cell over a sequence."""

import contextlib
from typing import Any

import keras
from keras import ops

from keras_gates import kernels
from keras_gates._arguments import check_rate, make_from_config
from keras_gates.cells.base import register
from keras_gates.cells.inside import attributes, cells_inside


@register()
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` that uses the fused kernels where they are available.

    Takes the same arguments, gives the same results, saves and loads the same way. With `stateful=True`,
    `reset_state` returns to the cell's own initial states, also where these are learned.

    Args:
        cell, return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask, **kwargs:
            as in `keras.layers.RNN`.
        weight_dropout: fraction of the elements of each recurrent kernel that are dropped in training, in
            [0, 1): drawn anew in each call, by the cell's seed, and the same for all sequences and steps; the
            others are scaled by 1 / (1 − weight_dropout). The fused kernels run with it as without. (Merity,
            Keskar & Socher 2018, Regularizing and optimizing LSTM language models.)

    Raises:
        ValueError: `weight_dropout` is out of its range, or the cell has no recurrent kernel to drop from.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        *,
        weight_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            **kwargs,
        )
        self.weight_dropout = check_rate("weight_dropout", weight_dropout)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        with keras.saving.custom_object_scope(custom_objects or {}):
            return make_from_config(cls, config)

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.layers.InputSpec(ndim=len(sequences_shape))
        if self.weight_dropout and not self._cells_with_recurrent_kernel():
            raise ValueError(
                "`weight_dropout` needs a cell with a `recurrent_kernel` and a `seed_generator`; "
                f"got {type(self.cell).__name__}."
            )

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
        with self._dropped_weights(training):
            fused = kernels.fused_loop(self, sequences, initial_state, mask, training)
            return super().inner_loop(sequences, initial_state, mask, training) if fused is None else fused

    def _dropped_weights(self, training):
        """A context in which elements of the recurrent kernels are dropped, if they are to be."""
        stack = contextlib.ExitStack()
        if training and self.weight_dropout:
            for cell in self._cells_with_recurrent_kernel():
                kernel = ops.convert_to_tensor(cell.recurrent_kernel)
                kernel = keras.random.dropout(kernel, self.weight_dropout, seed=cell.seed_generator)
                stack.enter_context(attributes(cell, recurrent_kernel=kernel))
        return stack

    def _cells_with_recurrent_kernel(self):
        return [
            cell
            for cell in cells_inside(self.cell)
            if vars(cell).get("recurrent_kernel") is not None and hasattr(cell, "seed_generator")
        ]

    def get_config(self):
        return {**super().get_config(), "weight_dropout": self.weight_dropout}
