"""Attention of a recurrent cell over a memory, and pooling of a sequence by attention."""

import keras
from keras import ops

from keras_gates._arguments import check_choice, check_size, fresh, resolve
from keras_gates.cells.base import register
from keras_gates.cells.wrappers import WrapperCell


def align(scores, mask=None):
    """Softmax of the scores over the last axis, exactly zero where the mask is false.

    At least in float32, whatever the dtype of the scores. Where the mask lets nothing through, all are zero.
    """
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    if mask is None:
        return ops.softmax(scores, axis=-1)
    weights = ops.softmax(ops.where(mask, scores, -1e30), axis=-1)
    return ops.where(mask, weights, 0.0)


@register()
class AttentionCell(WrapperCell):
    r"""A cell that looks at a memory of vectors m_1 … m_J in each step.

    `score="additive"` (Bahdanau et al. 2015): it looks with its state h, then steps with what it saw.

        e_j = v · tanh(W_q h + W_m m_j)        α = softmax(e)        a = Σ_j α_j m_j
        h', s' = cell([x, a], s)

    `score="dot"` and `"general"` (Luong et al. 2015): it steps with what it saw last, then looks with its new
    output. The attentional vector a is the output, and one more state.

        y, s' = cell([x, a], s)
        e_j = y · m_j, or y · W_m m_j           α = softmax(e)
        a' = tanh(W_a [Σ_j α_j m_j, y])

    Soft attention takes the sum over all positions. Hard attention takes one: drawn from α in training,
    where the gradient passes as if α had been taken (straight-through estimator, Bengio et al. 2013, instead
    of the REINFORCE of Xu et al. 2015), the most probable at inference.

    The memory and its mask are given for a whole sequence at once, by `AttentionRNN`. Reports the
    gates of the cell inside, and `alignment`: α, or the position taken, shape `(batch, J)`.

    Args:
        cell: the cell inside. Its inputs are x and a, side by side.
        score: `"additive"`, `"dot"` or `"general"`. For `"dot"`, memory and output are of one width.
        units: size of the sum inside tanh for `"additive"`, of a for the others; by default the
            size of the output of the cell inside.
        hard: whether one position is taken instead of the sum.
        kernel_initializer: how W_q, W_m, v and W_a start: the weights `query_kernel`, `memory_kernel`,
            `score_kernel`, `attention_kernel`, as far as the score has them.
        seed: seed of the draws of hard attention. With the JAX backend, these need
            `AttentionRNN(…, unroll=True)`, as in `ZoneoutCell`.
        **kwargs: as in `WrapperCell`.

    Raises:
        ValueError: the score is unknown, there is no memory to look at, or for `"dot"` the widths differ.
    """

    source = (
        "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate; "
        "Luong, Pham & Manning 2015, Effective approaches to attention-based neural machine translation; "
        "Xu et al. 2015, Show, attend and tell (hard)"
    )

    def __init__(
        self,
        cell,
        *,
        score="additive",
        units=None,
        hard=False,
        kernel_initializer="glorot_uniform",
        seed=None,
        **kwargs,
    ):
        super().__init__(cell, **kwargs)
        self.score = check_choice("score", score, ("additive", "dot", "general"))
        self.units = super().output_size if units is None else check_size("units", units)
        self.hard = hard
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.memory_size = None
        self._memory = self._keys = self._memory_mask = None

    @property
    def looks_first(self):
        """Whether the cell looks before it steps (Bahdanau) or after (Luong)."""
        return self.score == "additive"

    @property
    def states(self):
        return super().states if self.looks_first else (*super().states, "a")

    @property
    def state_size(self):
        return super().state_size if self.looks_first else [*super().state_size, self.units]

    @property
    def output_size(self):
        return super().output_size if self.looks_first else self.units

    def build(self, input_shape):
        if self.memory_size is None:
            raise ValueError(
                f"{type(self).__name__} has no memory to look at: use it in keras_gates.AttentionRNN, "
                "called as layer(sequences, memory=memory)."
            )
        batch, features = input_shape
        seen = self.memory_size if self.looks_first else self.units
        super().build((batch, features + seen))
        width = super().output_size
        if self.score == "dot" and self.memory_size != width:
            raise ValueError(
                f"`score='dot'` multiplies the memory with the output of {type(self.cell).__name__}, so "
                f"both must be of one width; got {self.memory_size} and {width}. `score='general'` takes any."
            )
        if self.score == "additive":
            self.query_kernel = self._add_kernel("query_kernel", (width, self.units))
            self.memory_kernel = self._add_kernel("memory_kernel", (self.memory_size, self.units))
            self.score_kernel = self._add_kernel("score_kernel", (self.units,))
        if self.score == "general":
            self.memory_kernel = self._add_kernel("memory_kernel", (self.memory_size, width))
        if not self.looks_first:
            self.attention_kernel = self._add_kernel(
                "attention_kernel", (self.memory_size + width, self.units)
            )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: features})

    def _add_kernel(self, name, shape):
        return self.add_weight(shape=shape, name=name, initializer=fresh(self.kernel_initializer))

    def get_build_config(self):
        config = super().get_build_config()
        return config and {**config, "memory_size": self.memory_size}

    def build_from_config(self, config):
        self.memory_size = config["memory_size"]
        super().build_from_config(config)

    def get_initial_state(self, batch_size=None):
        states = super().get_initial_state(batch_size)
        return (
            states if self.looks_first else [*states, ops.zeros((batch_size, self.units), self.compute_dtype)]
        )

    # -- the memory

    def attend_to(self, memory, mask=None):
        """Take a memory `(batch, J, size)`, and a mask `(batch, J)` that is false at padding.

        It holds until `forget`. What the scores need of the memory alone is computed here, once for all.
        """
        memory = ops.cast(memory, self.compute_dtype)
        if mask is not None:
            mask = ops.cast(mask, "bool")
            memory = ops.where(mask[..., None], memory, 0)  # or a NaN in the padding would reach the sum
        self._memory, self._memory_mask = memory, mask
        self._keys = memory if self.score == "dot" else ops.matmul(memory, self.memory_kernel)

    def forget(self):
        """Let go of the memory."""
        self._memory = self._keys = self._memory_mask = None

    def look(self, query, training=False):
        """What a query `(batch, size)` sees, `(batch, memory size)`, and the alignment, `(batch, J)`."""
        if self._memory is None:
            raise ValueError(
                f"{type(self).__name__} has no memory to look at: use it in keras_gates.AttentionRNN, "
                "called as layer(sequences, memory=memory), or call `attend_to` first."
            )
        if self.score == "additive":
            inner = ops.tanh(ops.matmul(query, self.query_kernel)[:, None] + self._keys)
            scores = ops.sum(inner * self.score_kernel, axis=-1)
        else:
            scores = ops.matmul(self._keys, query[..., None])[..., 0]
        alignment = align(scores, self._memory_mask)
        if self.hard:
            alignment = self._take_one(alignment, training)
        alignment = ops.cast(alignment, self.compute_dtype)
        return ops.matmul(alignment[:, None], self._memory)[:, 0], alignment

    def _take_one(self, alignment, training):
        if not training:
            return self._one_hot(ops.argmax(alignment, axis=-1), alignment)
        # The largest of log α plus Gumbel noise is a draw from α.
        uniform = keras.random.uniform(ops.shape(alignment), minval=1e-7, seed=self.seed_generator)
        noisy = ops.log(alignment) - ops.log(-ops.log(ops.cast(uniform, alignment.dtype)))
        drawn = self._one_hot(ops.argmax(noisy, axis=-1), alignment)
        return alignment + ops.stop_gradient(drawn - alignment)

    def _one_hot(self, position, alignment):
        taken = ops.equal(ops.arange(ops.shape(alignment)[-1], dtype=position.dtype), position[:, None])
        if self._memory_mask is not None:
            taken = ops.logical_and(taken, self._memory_mask)
        return ops.cast(taken, alignment.dtype)

    # -- one step

    def call_with_gates(self, inputs, states, training=False):
        return (self._look_and_step if self.looks_first else self._step_and_look)(inputs, states, training)

    def _look_and_step(self, inputs, states, training):
        seen, alignment = self.look(states[0], training)
        joined = ops.concatenate([inputs, seen], axis=-1)
        output, new_states, gates = super().call_with_gates(joined, states, training)
        return output, new_states, {**gates, "alignment": alignment}

    def _step_and_look(self, inputs, states, training):
        *states, a = states
        joined = ops.concatenate([inputs, a], axis=-1)
        output, new_states, gates = super().call_with_gates(joined, states, training)
        seen, alignment = self.look(output, training)
        a = ops.tanh(ops.matmul(ops.concatenate([seen, output], axis=-1), self.attention_kernel))
        return a, [*new_states, a], {**gates, "alignment": alignment}

    def get_dropout_mask(self, step_input):
        seen = self.memory_size if self.looks_first else self.units
        room = ops.repeat(ops.zeros_like(step_input[:, :1]), seen, axis=-1)
        return super().get_dropout_mask(ops.concatenate([step_input, room], axis=-1))
