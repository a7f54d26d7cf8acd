"""Pooling over time: one vector for a sequence, whole or as the sequence grows.

A pooling layer can also run one step at a time, by a method `pool_step(inputs, carried, mask)`:

    inputs: the features of one step, shape `(batch, features)`.
    carried: its state, a dict of tensors `(batch, …)` by name; before the first step empty, or all zeros.
    mask: None, or of shape `(batch,)`: a masked step changes nothing.

It returns the pooled features of all steps so far, and the new state. For Keras' own two layers, which have
no such method, this module has an equivalent function.
"""

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import Configured, Initializer, check_size, fresh, resolve
from keras_gates.attention.scores import align
from keras_gates.cells.base import register


def pool_step_of(layer):
    """The function `pool_step(inputs, carried, mask)` of a layer that pools over time, or None."""
    of_keras = {
        keras.layers.GlobalAveragePooling1D: _keras_mean_step,
        keras.layers.GlobalMaxPooling1D: _keras_max_step,
    }
    if type(layer) not in of_keras:
        own = getattr(layer, "pool_step", None)
        return own if callable(own) else None  # a foreign layer may have another attribute of this name
    supported = layer.data_format == "channels_last" and not layer.keepdims
    return of_keras[type(layer)] if supported else None


def _keras_mean_step(inputs, carried, mask):
    _, carried = _mean_step(inputs, carried, mask)
    mean = carried["sum"] / carried["count"]  # NaN until the first unmasked step
    return ops.cast(mean, inputs.dtype), carried


def _keras_max_step(inputs, carried, mask):
    return _max_step(inputs, carried, None)  # Keras' layer ignores the mask


def _wide(inputs):
    """The inputs in float32 or wider, for sums: in bfloat16, 256 + 1 is 256."""
    return ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))


def _mean_step(inputs, carried, mask):
    terms = _wide(inputs)
    one = ops.ones_like(terms[:, :1])
    counts = one if mask is None else ops.cast(mask, terms.dtype)[:, None]
    terms = terms if mask is None else ops.where(mask[:, None], terms, 0)
    carried = {"count": carried.get("count", 0) + counts, "sum": carried.get("sum", 0) + terms}
    return ops.cast(carried["sum"] / ops.maximum(carried["count"], one), inputs.dtype), carried


def _sum_step(inputs, carried, mask):
    terms = _wide(inputs)
    terms = terms if mask is None else ops.where(mask[:, None], terms, 0)
    total = carried.get("sum", 0) + terms
    return ops.cast(total, inputs.dtype), {"sum": total}


def _max_step(inputs, carried, mask):
    one = ops.ones_like(inputs[:, :1])
    begun, largest = carried.get("begun", ops.zeros_like(one)), carried.get("largest", ops.zeros_like(inputs))
    counts = ops.ones_like(one, dtype="bool") if mask is None else mask[:, None]
    largest = ops.where(counts, ops.where(begun > 0, ops.maximum(largest, inputs), inputs), largest)
    return largest, {"begun": ops.where(counts, one, begun), "largest": largest}


class Pooling(Configured, keras.layers.Layer):
    """Base of the layers that pool over time: they use the mask of their inputs, and pass none on.

    A subclass implements `call` and `pool_step`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return None


@register()
class MeanPooling(Pooling):
    """The mean of every feature over the unmasked steps; zero where there is none.

    `keras.layers.GlobalAveragePooling1D` gives NaN there.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(batch, time, features)`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the inputs carry.

    Returns:
        The means, shape `(batch, features)`.
    """

    def call(self, inputs, mask=None):
        terms = _wide(inputs)
        if mask is None:
            return ops.cast(ops.mean(terms, axis=1), inputs.dtype)
        mask = ops.cast(mask, "bool")[..., None]
        count = ops.sum(ops.cast(mask, terms.dtype), axis=1)
        mean = ops.sum(ops.where(mask, terms, 0), axis=1) / ops.maximum(count, 1)
        return ops.cast(mean, inputs.dtype)

    def pool_step(self, inputs, carried, mask):
        """One step of the pooling: see `keras_gates.layers.pooling`."""
        return _mean_step(inputs, carried, mask)


@register()
class SumPooling(Pooling):
    """The sum of every feature over the unmasked steps.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(batch, time, features)`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the inputs carry.

    Returns:
        The sums, shape `(batch, features)`.
    """

    def call(self, inputs, mask=None):
        terms = _wide(inputs)
        if mask is not None:
            terms = ops.where(ops.cast(mask, "bool")[..., None], terms, 0)
        return ops.cast(ops.sum(terms, axis=1), inputs.dtype)

    def pool_step(self, inputs, carried, mask):
        """One step of the pooling: see `keras_gates.layers.pooling`."""
        return _sum_step(inputs, carried, mask)


@register()
class MaxPooling(Pooling):
    """The largest value of every feature over the unmasked steps; zero where there is none.

    `keras.layers.GlobalMaxPooling1D` ignores the mask.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(batch, time, features)`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the inputs carry.

    Returns:
        The largest values, shape `(batch, features)`.
    """

    def call(self, inputs, mask=None):
        if mask is None:
            return ops.max(inputs, axis=1)
        mask = ops.cast(mask, "bool")
        largest = ops.max(ops.where(mask[..., None], inputs, -float("inf")), axis=1)
        return ops.where(ops.any(mask, axis=1)[:, None], largest, 0)

    def pool_step(self, inputs, carried, mask):
        """One step of the pooling: see `keras_gates.layers.pooling`."""
        return _max_step(inputs, carried, mask)


@register()
class AttentionPooling(Pooling):
    r"""One vector for a sequence: the mean of its steps, weighted by a learned attention.

        e_t = v · tanh(W h_t + b)        α = softmax(e)        y = Σ_t α_t h_t

    The weights W, b, v are `kernel`, shape `(features, units)`, `bias`, and `score_kernel`, shape
    `(units,)`. Masked steps have exactly α = 0; a sequence without an unmasked step gives zeros.

    Args:
        units: size of the sum inside tanh; by default the number of features.
        return_alignments: whether to return α as well.
        kernel_initializer: initializer of W and v.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(batch, time, features)`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the inputs carry.

    Returns:
        y, shape `(batch, features)`; with `return_alignments` the pair of y and α, shape `(batch, time)`.
    """

    source = "Yang et al. 2016, Hierarchical attention networks for document classification"

    def __init__(
        self,
        units: int | None = None,
        *,
        return_alignments: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = None if units is None else check_size("units", units)
        self.return_alignments = return_alignments
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)

    def build(self, input_shape):
        features = input_shape[-1]
        units = self.units or features
        self.kernel = self._add_kernel("kernel", (features, units))
        self.bias = self.add_weight(shape=(units,), name="bias", initializer="zeros")
        self.score_kernel = self._add_kernel("score_kernel", (units,))

    def _add_kernel(self, name, shape):
        return self.add_weight(shape=shape, name=name, initializer=fresh(self.kernel_initializer))

    def call(self, inputs, mask=None):
        if mask is not None:
            mask = ops.cast(mask, "bool")
            inputs = ops.where(mask[..., None], inputs, 0)  # else a NaN in the padding would reach the sum
        alignment = ops.cast(align(self._scores(inputs), mask), self.compute_dtype)
        pooled = ops.matmul(alignment[:, None], inputs)[:, 0]
        return (pooled, alignment) if self.return_alignments else pooled

    def _scores(self, inputs):
        inner = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
        return ops.sum(inner * self.score_kernel, axis=-1)

    def pool_step(self, inputs, carried, mask):
        """One step of the pooling: see `keras_gates.layers.pooling`."""
        score = self._scores(inputs)[:, None]
        score = ops.cast(score, keras.backend.result_type(score.dtype, "float32"))
        zero = ops.zeros_like(score)
        highest, weight = carried.get("highest", zero), carried.get("weight", zero)
        total = carried.get("sum", ops.zeros_like(inputs))
        # Weight and sum are kept divided by e^highest, so that nothing overflows.
        new_highest = ops.where(weight > 0, ops.maximum(highest, score), score)
        shrink = ops.where(weight > 0, ops.exp(highest - new_highest), zero)
        new = ops.exp(score - new_highest)
        after = {
            "highest": new_highest,
            "weight": weight * shrink + new,
            "sum": total * ops.cast(shrink, total.dtype) + inputs * ops.cast(new, total.dtype),
        }
        if mask is not None:
            old = {"highest": highest, "weight": weight, "sum": total}
            after = {name: ops.where(mask[:, None], after[name], old[name]) for name in after}
        # The highest score has the weight e^0, so the sum of the weights is at least one.
        pooled = after["sum"] / ops.cast(ops.maximum(after["weight"], 1), total.dtype)
        return pooled, after
