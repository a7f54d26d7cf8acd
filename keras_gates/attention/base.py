"""Attention: a layer that holds a memory and reduces it to one vector for each query."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_gates._arguments import Configured, fresh

LARGEST_LOGIT = 16.0


def widened(x):
    """The tensor in float32 or wider: what is a position or an exponent is too coarse in half precision."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def exp_of_logit(x):
    """exp x, with x clipped to ±16: so that neither it nor products of several overflow in float32."""
    return ops.exp(ops.clip(x, -LARGEST_LOGIT, LARGEST_LOGIT))


class Attention(Configured, keras.layers.Layer):
    """Base class of all attentions.

    A cell holds one as its attribute `attention`. `keras_gates.AttentionRNN` sets its memory before the first
    step of a sequence (`attend_to`) and removes it after the last (`forget`); in between, the cell calls
    `look` in every step.

    A subclass implements `look`; `prepare`, if something depends on the memory alone; `build`, if it has
    weights; and `seen_size`, if the vector that it returns is not as wide as the memory. One that goes on
    from where it looked before has states: it declares `states` and `state_size`, and implements `advance`
    instead of `look`; so does one that reports something else than an alignment.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Attributes:
        states: the names of the states that it carries from step to step, which start at zero.
        state_size: their sizes, a list.
        memory_shape: the shape of the memory, `(batch, positions, size)`, or that of pictures. It must be
            known when the weights are created: `AttentionRNN` sets it.
        memory: the memory that it attends to, or None. Zero where the mask is false.
        memory_mask: None, or boolean, shape `(batch, positions)`: false at padding.
        prepared: what `prepare` returned for the memory.
    """

    states: tuple[str, ...] = ()
    state_size: Sequence[int] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.memory_shape = None
        self.forget()

    def build(self, query_shape, memory_shape):
        """Create the weights.

        Raises:
            ValueError: `memory_shape` is None: the shape of the memory is not known yet.
        """
        if memory_shape is None:
            raise self._without_memory()
        self.memory_shape = tuple(memory_shape)

    @property
    def seen_size(self):
        """The width of the vector that `look` returns; a ValueError if `memory_shape` is not known yet."""
        if self.memory_shape is None:
            raise self._without_memory()
        return self.memory_shape[-1]

    def add_kernel(self, name, shape):
        """Add a weight that is initialised by `kernel_initializer`."""
        return self.add_weight(shape=shape, name=name, initializer=fresh(self.kernel_initializer))

    # -- the memory

    def attend_to(self, memory, mask=None):
        """Set the memory, and its mask `(batch, positions)`, false at padding, until `forget` is called."""
        memory = ops.cast(memory, self.compute_dtype)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            memory = ops.where(mask[..., None], memory, 0)  # else a NaN in the padding would reach the sum
        self.memory, self.memory_mask = memory, mask
        self.prepared = self.prepare(memory)

    def forget(self):
        """Release the memory."""
        self.memory = self.memory_mask = self.prepared = None

    def prepare(self, memory):
        """What `look` needs that depends only on the memory: computed once for all steps."""
        return memory

    def look(self, query, training=False):
        """Attend to the memory.

        Args:
            query: shape `(batch, size)`.
            training: whether behaviour that is specific to training applies.

        Returns:
            The vector that was seen (the context vector), shape `(batch, seen_size)`, and the alignment, the
            weight of each position, shape `(batch, positions)`.

        Raises:
            ValueError: no memory is set.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `look`; see `advance`.")

    def advance(self, query, states, training=False):
        """Attend to the memory in a step of a sequence.

        Args:
            query: shape `(batch, size)`.
            states: the states before the step, a list of tensors.
            training: whether behaviour that is specific to training applies.

        Returns:
            The vector that was seen, shape `(batch, seen_size)`; the list of states after the step; and what
            `keras_gates.trace` reports, a dict of tensors `(batch, …)`: here the `alignment`.

        Raises:
            ValueError: no memory is set.
        """
        seen, alignment = self.look(query, training)
        return seen, states, {"alignment": alignment}

    def check_memory(self):
        if self.memory is None:
            raise self._without_memory()

    def _without_memory(self):
        return ValueError(
            f"{type(self).__name__} has no memory to look at: use its cell in keras_gates.AttentionRNN, "
            "called as layer(sequences, memory=memory), or call `attend_to` first."
        )
