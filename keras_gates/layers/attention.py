"""A layer whose cell looks at a memory that is given with the sequences."""

from keras_gates.attention.cells import AttentionCell
from keras_gates.cells.base import register
from keras_gates.cells.wrappers import WrapperCell
from keras_gates.layers.rnn import RNN


@register()
class AttentionRNN(RNN):
    """`RNN` whose cell, or cells of a stack, look at a memory that is given with the sequences.

        layer = AttentionRNN(AttentionCell(LSTMCell(64)), return_sequences=True)
        outputs = layer(sequences, memory=memory)

    The cell is an `AttentionCell`, or has one inside: in a wrapper, or in a stack of cells. The memory
    is an input of the layer like any other, so a model with it saves and loads.

    Args:
        cell, **kwargs: as in `keras.layers.RNN`.

    Call arguments:
        sequences: shape `(batch, time, features)`.
        memory: what to look at, shape `(batch, J, size)`.
        initial_state, training: as in `keras.layers.RNN`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the sequences carry.
        memory_mask: shape `(batch, J)`, false at padding; by default the mask that the memory carries.

    Raises:
        ValueError: no memory is given, or the cell has no `AttentionCell` inside.
    """

    def __init__(self, cell, **kwargs):
        super().__init__(cell, **kwargs)
        if not self._looking:
            raise ValueError(f"`cell` of AttentionRNN must have an AttentionCell inside; got {self.cell!r}.")

    @property
    def _looking(self):
        return [layer for layer in _inside(self.cell) if isinstance(layer, AttentionCell)]

    def build(self, sequences_shape, memory_shape=None, initial_state_shape=None):
        if memory_shape is None:
            raise ValueError("AttentionRNN needs a memory: call it as layer(sequences, memory=memory).")
        for cell in self._looking:
            cell.memory_size = memory_shape[-1]
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
        for cell in self._looking:
            cell.attend_to(memory, memory_mask)
        try:
            mask = sequences_mask if mask is None else mask
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        finally:
            for cell in self._looking:
                cell.forget()

    def alignments(self, sequences, memory, **kwargs):
        """Where the cell looked in each step, shape `(batch, time, J)`; arguments as of a call."""
        probe = AttentionRNN(
            _AlignmentCell(self.cell),
            return_sequences=True,
            go_backwards=self.go_backwards,
            dtype=self.dtype_policy,
        )
        return probe(sequences, memory=memory, **kwargs)


def _inside(cell):
    """A cell, and all cells inside it."""
    inner = getattr(cell, "cells", None) or [c for c in [getattr(cell, "cell", None)] if c is not None]
    return [cell, *(deeper for each in inner for deeper in _inside(each))]


class _AlignmentCell(WrapperCell):
    """A cell whose output is where the cell inside looked."""

    def call_with_gates(self, inputs, states, training=False):
        _, new_states, gates = super().call_with_gates(inputs, states, training)
        return gates["alignment"], new_states, gates
