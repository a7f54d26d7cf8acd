"""Attention by scores: a softmax over one score for each position of the memory."""

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import Initializer, check_size, resolve
from keras_gates.attention.base import Attention
from keras_gates.cells.base import register


def align(scores, mask=None):
    """Softmax of the scores over the last axis, exactly zero where the mask is false.

    Computed in float32 or wider, whatever the dtype of the scores. Where the mask hides every position, all
    weights are zero.
    """
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    if mask is None:
        return ops.softmax(scores, axis=-1)
    weights = ops.softmax(ops.where(mask, scores, -1e30), axis=-1)
    return ops.where(mask, weights, 0.0)


class ScoredAttention(Attention):
    r"""Base of the attentions that score each position m_1 … m_J of the memory.

        e_j = score(q, m_j)        α = softmax(e)        seen = Σ_j α_j m_j

    Soft attention takes the sum over all positions. Hard attention takes a single position: in training one
    drawn from α, with the gradient of α itself (straight-through estimator, Bengio et al. 2013, instead of
    the REINFORCE of Xu et al. 2015); at inference the most probable one.

    The alignment is α, or with hard attention one at the chosen position and zero elsewhere. It is exactly
    zero at masked positions; if all positions are masked, the result is zeros.

    A subclass implements `score`.

    Args:
        hard: whether to take one position instead of the sum.
        seed: seed of the random draws of hard attention. With the JAX backend, these need
            `AttentionRNN(…, unroll=True)`, as in `ZoneoutCell`.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, *, hard: bool = False, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hard = hard
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def score(self, query, keys):
        """The scores, `(batch, positions)`, of a query `(batch, size)`; `keys` is what `prepare` returned."""
        raise NotImplementedError(f"{type(self).__name__} must define `score`.")

    def look(self, query, training=False):
        self.check_memory()
        scores = self.score(ops.cast(query, self.compute_dtype), self.prepared)
        alignment = align(scores, self.memory_mask)
        if self.hard:
            alignment = self._take_one(alignment, training)
        alignment = ops.cast(alignment, self.compute_dtype)
        return ops.matmul(alignment[:, None], self.memory)[:, 0], alignment

    def _take_one(self, alignment, training):
        if not training:
            return self._one_hot(ops.argmax(alignment, axis=-1), alignment)
        # The position with the largest log α plus Gumbel noise is a draw from α.
        uniform = keras.random.uniform(ops.shape(alignment), minval=1e-7, seed=self.seed_generator)
        noisy = ops.log(alignment) - ops.log(-ops.log(ops.cast(uniform, alignment.dtype)))
        drawn = self._one_hot(ops.argmax(noisy, axis=-1), alignment)
        return alignment + ops.stop_gradient(drawn - alignment)

    def _one_hot(self, position, alignment):
        taken = ops.equal(ops.arange(ops.shape(alignment)[-1], dtype=position.dtype), position[:, None])
        if self.memory_mask is not None:
            taken = ops.logical_and(taken, self.memory_mask)
        return ops.cast(taken, alignment.dtype)


@register()
class AdditiveAttention(ScoredAttention):
    r"""The score is a network with one hidden layer.

        e_j = v · tanh(W_q q + W_m m_j)

    W_q, W_m and v are the weights `query_kernel`, `memory_kernel` and `score_kernel`.

    Args:
        units: size of the sum inside tanh; by default the size of the query.
        kernel_initializer: initializer of the weights.
        hard, seed, **kwargs: as in `ScoredAttention`.
    """

    source = (
        "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate"
    )

    def __init__(
        self, units: int | None = None, *, kernel_initializer: Initializer = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.units = None if units is None else check_size("units", units)
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        units = self.units or query_shape[-1]
        self.query_kernel = self.add_kernel("query_kernel", (query_shape[-1], units))
        self.memory_kernel = self.add_kernel("memory_kernel", (memory_shape[-1], units))
        self.score_kernel = self.add_kernel("score_kernel", (units,))

    def prepare(self, memory):
        return ops.matmul(memory, self.memory_kernel)

    def score(self, query, keys):
        inner = ops.tanh(ops.matmul(query, self.query_kernel)[:, None] + keys)
        return ops.sum(inner * self.score_kernel, axis=-1)


@register()
class DotAttention(ScoredAttention):
    r"""The score is a dot product: e_j = q · m_j. Query and memory must have the same width.

    Args:
        hard, seed, **kwargs: as in `ScoredAttention`.

    Raises:
        ValueError: query and memory differ in width.
    """

    source = "Luong, Pham & Manning 2015, Effective approaches to attention-based neural machine translation"

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        if memory_shape[-1] != query_shape[-1]:
            raise ValueError(
                f"{type(self).__name__} multiplies the memory with the query, so both must be of one width; "
                f"got {memory_shape[-1]} and {query_shape[-1]}. GeneralAttention takes any."
            )

    def score(self, query, keys):
        return ops.matmul(keys, query[..., None])[..., 0]


@register()
class GeneralAttention(ScoredAttention):
    r"""The score is a bilinear product: e_j = q · W_m m_j. W_m is the weight `memory_kernel`.

    Args:
        kernel_initializer: initializer of W_m.
        hard, seed, **kwargs: as in `ScoredAttention`.
    """

    source = DotAttention.source

    def __init__(self, *, kernel_initializer: Initializer = "glorot_uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        self.memory_kernel = self.add_kernel("memory_kernel", (memory_shape[-1], query_shape[-1]))

    def prepare(self, memory):
        return ops.matmul(memory, self.memory_kernel)

    score = DotAttention.score


ATTENTIONS = {"additive": AdditiveAttention, "dot": DotAttention, "general": GeneralAttention}
