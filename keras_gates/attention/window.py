"""Attention by a soft window that only moves forwards."""

import math
from typing import Any

from keras import ops

from keras_gates._arguments import Initializer, check_size, resolve
from keras_gates.attention.base import Attention, exp_of_logit, widened
from keras_gates.cells.base import register


@register()
class SoftWindow(Attention):
    r"""A window that walks over the memory: a mixture of K Gaussians whose centres only move forwards.

        (α̂, β̂, κ̂) = q W + b
        α = exp α̂        β = exp β̂        κ' = κ + exp κ̂
        φ_u = Σ_k α_k exp(−β_k (κ'_k − u)²)        seen = Σ_u φ_u m_u,  u = 1 … U

    The centres κ are its state, in positions, zero before the first step. The alignment is φ, which does not
    sum to one; it is exactly zero at masked positions. W and b are the weights `kernel`, shape
    `(query, 3·K)`, and `bias`. α̂, β̂ and κ̂ are clipped to ±16.

    A trace has `alignment`, φ, shape `(batch, U)`; `kappa`, shape `(batch, K)`; and `end`, the weight of the
    position after the last, shape `(batch, 1)`. In the paper, writing stops when it is above all others.

    Args:
        components: K, the number of Gaussians.
        stride: by how many positions the centres move in a step before training: b starts at its logarithm
            for κ̂, and at zero otherwise. For handwriting it is less than 0.1, since a character takes many
            steps.
        kernel_initializer: initializer of W.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """

    source = "Graves 2013, Generating sequences with recurrent neural networks, §5.1"
    states = ("kappa",)

    def __init__(
        self,
        components: int,
        *,
        stride: float = 1.0,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.components = check_size("components", components)
        if not isinstance(stride, (int, float)) or not 0 < stride < math.inf:
            raise ValueError(f"`stride` must be a number greater than 0; got {stride!r}.")
        self.stride = stride
        self.state_size = [self.components]
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        self.kernel = self.add_kernel("kernel", (query_shape[-1], 3 * self.components))
        self.bias = self.add_weight(shape=(3 * self.components,), name="bias", initializer=self._initial_bias)

    def _initial_bias(self, shape, dtype=None):
        zeros = ops.zeros((2 * self.components,), dtype)
        return ops.concatenate([zeros, ops.full((self.components,), math.log(self.stride), dtype)])

    def advance(self, query, states, training=False):
        self.check_memory()
        parameters = widened(ops.matmul(ops.cast(query, self.compute_dtype), self.kernel) + self.bias)
        height, sharpness, step = (exp_of_logit(x) for x in ops.split(parameters, 3, axis=-1))
        kappa = ops.cast(states[0], parameters.dtype) + step

        def phi(positions):
            """φ at positions `(positions,)` or `(batch, positions)`, shape `(batch, positions)`."""
            distance = kappa[..., None] - positions[..., None, :]
            return ops.sum(height[..., None] * ops.exp(-sharpness[..., None] * distance**2), axis=-2)

        positions = ops.shape(self.memory)[1]
        alignment = phi(ops.arange(1, positions + 1, dtype=kappa.dtype))
        if self.memory_mask is None:
            last = ops.cast(positions, kappa.dtype) * ops.ones_like(kappa[:, :1])
        else:
            alignment = ops.where(self.memory_mask, alignment, 0)
            last = ops.sum(ops.cast(self.memory_mask, kappa.dtype), axis=-1, keepdims=True)
        reported = {"alignment": alignment, "end": phi(last + 1)}
        reported = {name: ops.cast(x, self.compute_dtype) for name, x in reported.items()}
        seen = ops.matmul(reported["alignment"][:, None], self.memory)[:, 0]
        return seen, [ops.cast(kappa, states[0].dtype)], reported
