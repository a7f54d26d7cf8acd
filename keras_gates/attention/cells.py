"""Cells that attend to a memory in each step."""

from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from keras_gates._arguments import Initializer, check_size, fresh, resolve
from keras_gates.attention.base import Attention
from keras_gates.attention.scores import ATTENTIONS
from keras_gates.cells.base import register
from keras_gates.cells.wrappers import WrapperCell

Score: TypeAlias = Literal["additive", "dot", "general"]


class AttentionCell(WrapperCell):
    """Base of the cells that attend to a memory: the wrapped cell receives the input and an added vector.

    The memory and its mask are given for a whole sequence at once, by `keras_gates.AttentionRNN`. A subclass
    defines the widths of the query and of the added vector, and its step. The gates of the step include what
    the attention reports, such as `alignment`, the weights of the positions, shape `(batch, positions)`; the
    states of the attention follow those of the wrapped cell.

    Args:
        cell: the wrapped cell. Its inputs are x and the added vector, concatenated.
        attention: an `Attention` over the memory, or the name of one with its default arguments,
            `"additive"`, `"dot"` or `"general"`.
        **kwargs: as in `WrapperCell`.

    Raises:
        ValueError: the attention is unknown, or no memory is set.
    """

    def __init__(self, cell: keras.layers.Layer, attention: Attention | Score, **kwargs: Any) -> None:
        super().__init__(cell, **kwargs)
        self.attention = self._resolve(attention)

    def _resolve(self, attention):
        if isinstance(attention, Attention):
            return attention
        if attention not in tuple(ATTENTIONS):
            raise ValueError(
                f"`attention` must be one of {', '.join(map(repr, ATTENTIONS))}, or an Attention; "
                f"got {attention!r}."
            )
        return ATTENTIONS[attention](dtype=self.dtype_policy)

    @property
    def query_size(self):
        """The width of the query."""
        raise NotImplementedError(f"{type(self).__name__} must define `query_size`.")

    @property
    def added_size(self):
        """The width of the vector that is concatenated to the input."""
        raise NotImplementedError(f"{type(self).__name__} must define `added_size`.")

    @property
    def states(self):
        return (*super().states, *self.attention.states)

    @property
    def state_size(self):
        return [*super().state_size, *self.attention.state_size]

    def get_initial_state(self, batch_size=None):
        own = [ops.zeros((batch_size, size), self.compute_dtype) for size in self.attention.state_size]
        return [*super().get_initial_state(batch_size), *own]

    def part(self, states):
        """The states of the wrapped cell, and those of the attention."""
        end = len(super().state_size)
        return states[:end], states[end:]

    def build(self, input_shape):
        batch, features = input_shape
        super().build((batch, features + self.added_size))
        if not self.attention.built:
            self.attention.build((batch, self.query_size), self.attention.memory_shape)
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: features})

    def join(self, inputs, added):
        """The inputs of the wrapped cell."""
        return ops.concatenate([inputs, ops.cast(added, inputs.dtype)], axis=-1)

    def get_dropout_mask(self, step_input):
        added = ops.repeat(ops.zeros_like(step_input[:, :1]), self.added_size, axis=-1)
        return super().get_dropout_mask(self.join(step_input, added))


@register()
class BahdanauCell(AttentionCell):
    r"""A cell that attends with its state h as the query, then steps with the vector that was seen.

        a = Σ_j α_j m_j, with the query h        h', s' = cell([x, a], s)

    Args:
        cell, attention, **kwargs: as in `AttentionCell`.
        output_seen: whether the output is [h', a], so that the layers above receive what was seen too, as
            the paper's deep output does (appendix A.2.2). Without it what was seen reaches them through
            the step alone, and attention is learnt more slowly.

    Raises:
        ValueError: as in `AttentionCell`.
    """

    source = (
        "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate"
    )

    def __init__(
        self,
        cell: keras.layers.Layer,
        attention: Attention | Score = "additive",
        *,
        output_seen: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, attention, **kwargs)
        self.output_seen = output_seen

    @property
    def query_size(self):
        return self.state_size[0]

    @property
    def added_size(self):
        return self.attention.seen_size

    @property
    def output_size(self):
        return super().output_size + (self.added_size if self.output_seen else 0)

    def call_with_gates(self, inputs, states, training=False):
        states, places = self.part(states)
        seen, places, looked = self.attention.advance(states[0], places, training)
        output, states, gates = super().call_with_gates(self.join(inputs, seen), states, training)
        if self.output_seen:
            output = self.join(output, seen)
        return output, [*states, *places], {**gates, **looked}


@register()
class LuongCell(AttentionCell):
    r"""A cell that steps with its last attentional vector, then attends with its new output as the query.

        y, s' = cell([x, a], s)
        a' = tanh(W_a [Σ_j α_j m_j, y]), with the query y

    The attentional vector a is the output, and an additional state. W_a is the weight `attention_kernel`.

    Args:
        cell, attention, **kwargs: as in `AttentionCell`.
        units: size of a; by default the size of the output of the wrapped cell.
        kernel_initializer: initializer of W_a.

    Raises:
        ValueError: as in `AttentionCell`.
    """

    source = "Luong, Pham & Manning 2015, Effective approaches to attention-based neural machine translation"

    def __init__(
        self,
        cell: keras.layers.Layer,
        attention: Attention | Score = "general",
        *,
        units: int | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, attention, **kwargs)
        self.units = self.query_size if units is None else check_size("units", units)
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)

    @property
    def query_size(self):
        return super().output_size

    @property
    def added_size(self):
        return self.units

    @property
    def states(self):
        return (*super().states, "a")

    @property
    def state_size(self):
        return [*super().state_size, self.units]

    @property
    def output_size(self):
        return self.units

    def get_initial_state(self, batch_size=None):
        return [
            *super().get_initial_state(batch_size),
            ops.zeros((batch_size, self.units), self.compute_dtype),
        ]

    def build(self, input_shape):
        super().build(input_shape)
        self.attention_kernel = self.add_weight(
            shape=(self.attention.seen_size + self.query_size, self.units),
            name="attention_kernel",
            initializer=fresh(self.kernel_initializer),
        )

    def call_with_gates(self, inputs, states, training=False):
        *states, a = states
        states, places = self.part(states)
        output, states, gates = super().call_with_gates(self.join(inputs, a), states, training)
        seen, places, looked = self.attention.advance(output, places, training)
        seen = ops.cast(seen, output.dtype)
        a = ops.tanh(ops.matmul(ops.concatenate([seen, output], axis=-1), self.attention_kernel))
        return a, [*states, *places, a], {**gates, **looked}


@register()
class GravesCell(AttentionCell):
    r"""A cell that steps with what was seen last, then looks with its new output as the query.

        y, s' = cell([x, a], s)        a' = Σ_j α_j m_j, with the query y

    The output is [y, a'], so that the layers above receive what was seen too; a is an additional state, zero
    before the first step.

    Args:
        cell, attention, **kwargs: as in `AttentionCell`. The paper's attention is a `SoftWindow`.
        seen_size: the width of a: of the memory, for an attention that takes a weighted sum of it. It is
            asked for since `keras.layers.RNN` must know the sizes of all states before it sees a memory.

    Raises:
        ValueError: as in `AttentionCell`; or the attention gives vectors of another width.
    """

    source = "Graves 2013, Generating sequences with recurrent neural networks, §5.1"

    def __init__(
        self, cell: keras.layers.Layer, attention: Attention | Score, *, seen_size: int, **kwargs: Any
    ) -> None:
        super().__init__(cell, attention, **kwargs)
        self.seen_size = check_size("seen_size", seen_size)

    def build(self, input_shape):
        if self.attention.seen_size != self.seen_size:
            raise ValueError(
                f"`seen_size` of {type(self).__name__} must be {self.attention.seen_size}, the width of what "
                f"its attention sees; got {self.seen_size}."
            )
        super().build(input_shape)

    @property
    def query_size(self):
        return super().output_size

    @property
    def added_size(self):
        return self.seen_size

    @property
    def states(self):
        return (*super().states, "a")

    @property
    def state_size(self):
        return [*super().state_size, self.added_size]

    @property
    def output_size(self):
        return self.query_size + self.added_size

    def get_initial_state(self, batch_size=None):
        return [
            *super().get_initial_state(batch_size),
            ops.zeros((batch_size, self.added_size), self.compute_dtype),
        ]

    def call_with_gates(self, inputs, states, training=False):
        *states, a = states
        states, places = self.part(states)
        output, states, gates = super().call_with_gates(self.join(inputs, a), states, training)
        seen, places, looked = self.attention.advance(output, places, training)
        a = ops.cast(seen, output.dtype)
        return ops.concatenate([output, a], axis=-1), [*states, *places, a], {**gates, **looked}
