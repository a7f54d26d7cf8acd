"""Attention: an object that knows a memory, looks at it, and says where it looked."""

import keras
from keras import ops

from keras_gates._arguments import Configured, fresh


class Attention(Configured, keras.layers.Layer):
    """Base of every attention.

    A cell holds one as its attribute `attention`. `keras_gates.AttentionRNN` gives it the memory before the
    first step of a sequence (`attend_to`) and takes it away after the last (`forget`); in between, the cell
    asks it in every step (`look`).

    A subclass writes `look`; `prepare`, if something depends on the memory alone; `build`, if it has weights;
    and `seen_size`, if what it sees is not as wide as the memory.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Attributes:
        memory_shape: the shape of the memory, `(batch, positions, size)`. It must be known when the weights
            are created: `AttentionRNN` sets it.
        memory: the memory that it looks at, or None. Zero where the mask is false.
        memory_mask: None, or boolean, shape `(batch, positions)`: false at padding.
        prepared: what `prepare` made of the memory.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.memory_shape = None
        self.forget()

    def build(self, query_shape, memory_shape):
        """Create the weights.

        Raises:
            ValueError: `memory_shape` is None: nothing has said which memory there will be.
        """
        if memory_shape is None:
            raise self._without_memory()
        self.memory_shape = tuple(memory_shape)

    @property
    def seen_size(self):
        """The width of what is seen; a ValueError if nothing has said which memory there will be."""
        if self.memory_shape is None:
            raise self._without_memory()
        return self.memory_shape[-1]

    def add_kernel(self, name, shape):
        """Add a weight that starts as `kernel_initializer` says."""
        return self.add_weight(shape=shape, name=name, initializer=fresh(self.kernel_initializer))

    # -- the memory

    def attend_to(self, memory, mask=None):
        """Take a memory, and a mask `(batch, positions)`, false at padding. It holds until `forget`."""
        memory = ops.cast(memory, self.compute_dtype)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            memory = ops.where(mask[..., None], memory, 0)  # or a NaN in the padding would reach the sum
        self.memory, self.memory_mask = memory, mask
        self.prepared = self.prepare(memory)

    def forget(self):
        """Let the memory go."""
        self.memory = self.memory_mask = self.prepared = None

    def prepare(self, memory):
        """What `look` needs of the memory alone: computed once for all steps."""
        return memory

    def look(self, query, training=False):
        """Look at the memory.

        Args:
            query: shape `(batch, size)`.
            training: whether what applies in training only does.

        Returns:
            What is seen, shape `(batch, seen_size)`, and the alignment, which says where it looked, shape
            `(batch, positions)`.

        Raises:
            ValueError: there is no memory.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `look`.")

    def check_memory(self):
        if self.memory is None:
            raise self._without_memory()

    def _without_memory(self):
        return ValueError(
            f"{type(self).__name__} has no memory to look at: use its cell in keras_gates.AttentionRNN, "
            "called as layer(sequences, memory=memory), or call `attend_to` first."
        )
