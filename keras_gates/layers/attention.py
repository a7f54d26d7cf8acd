"""A layer whose cell attends to a memory that is given with the sequences."""

from typing import Any

import keras

from keras_gates.attention.base import Attention
from keras_gates.cells.base import register
from keras_gates.cells.inside import cells_inside
from keras_gates.layers.rnn import RNN


@register()
class AttentionRNN(RNN):
    """`RNN` whose cell, or cells of a stack, attend to a memory that is given with the sequences.

        layer = AttentionRNN(LuongCell(LSTMCell(64)), return_sequences=True)
        outputs = layer(sequences, memory=memory)

    The cell is an `AttentionCell`, or has one inside: in a wrapper, or in a stack of cells. (A cell of your
    own only needs an attribute `attention`, an `Attention`.) The memory is an input of the layer like any
    other, so a model with it saves and loads. `keras_gates.trace` of the model shows the weights of the
    positions, under `alignment`.

    Args:
        cell, **kwargs: as in `keras.layers.RNN`.

    Call arguments:
        sequences: shape `(batch, time, features)`.
        memory: the memory to attend to, shape `(batch, positions, size)`; for an attention to pictures
            `(batch, height, width, channels)`.
        initial_state, training: as in `keras.layers.RNN`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the sequences carry.
        memory_mask: shape `(batch, positions)`, false at padding; by default the mask of the memory.

    Raises:
        ValueError: no memory is given, or the cell has no `AttentionCell` inside.
    """

    def __init__(self, cell: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        if not self.attentions():
            raise ValueError(f"`cell` of AttentionRNN must have an AttentionCell inside; got {self.cell!r}.")

    def attentions(self):
        """What looks at the memory: the attention of each cell that has one."""
        # A method, not a property: Keras would save the layers in a property a second time.
        found = [getattr(cell, "attention", None) for cell in cells_inside(self.cell)]
        return [attention for attention in found if isinstance(attention, Attention)]

    def build(self, sequences_shape, memory_shape=None, initial_state_shape=None):
        if memory_shape is None:
            raise ValueError("AttentionRNN needs a memory: call it as layer(sequences, memory=memory).")
        for attention in self.attentions():
            attention.memory_shape = memory_shape
        super().build(sequences_shape)

    def compute_output_shape(self, sequences_shape, memory_shape=None, initial_state_shape=None):
        return super().compute_output_shape(sequences_shape)

    def call(
        self,
        sequences,
        memory=None,
        initial_state=None,
        mask=None,
        sequences_mask=None,
        memory_mask=None,
        training=False,
    ):
        for attention in self.attentions():
            attention.attend_to(memory, memory_mask)
        try:
            mask = sequences_mask if mask is None else mask
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        finally:
            for attention in self.attentions():
                attention.forget()
