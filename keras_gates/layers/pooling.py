"""Pooling over time, one step after the other: the mean, or the largest values, of all steps so far.

A layer that pools says how it goes on by a method `running(inputs, before, mask)`:

    inputs: the features of one step, shape `(batch, features)`.
    before: what it carries from step to step, a dict of tensors `(batch, …)` by name; before the first step
        empty, or all zeros.
    mask: None, or of shape `(batch,)`: a step that does not count changes nothing.

It returns the pooled features of all steps so far, and what it carries on. Keras' own two layers, which have
no such method, are here.
"""

import keras
from keras import ops

from keras_gates._arguments import Configured, check_size, fresh, resolve
from keras_gates.attention.scores import align
from keras_gates.cells.base import register


def running_of(layer):
    """The function `running(inputs, before, mask)` of a layer that pools over time, or None."""
    of_keras = {
        keras.layers.GlobalAveragePooling1D: _mean_of_keras,
        keras.layers.GlobalMaxPooling1D: _max_of_keras,
    }
    if type(layer) not in of_keras:
        own = getattr(layer, "running", None)
        return own if callable(own) else None  # somebody else's attribute may have the name
    usual = layer.data_format == "channels_last" and not layer.keepdims
    return of_keras[type(layer)] if usual else None


def _mean_of_keras(inputs, before, mask):
    _, after = running_mean(inputs, before, mask)
    return after["sum"] / after["count"], after  # NaN as long as no step counts


def _max_of_keras(inputs, before, mask):
    return running_max(inputs, before, None)  # Keras' layer takes padding for real


def running_mean(inputs, before, mask):
    """`running` of the mean; zero as long as no step counts."""
    one = ops.ones_like(inputs[:, :1])
    counts = one if mask is None else ops.cast(mask, inputs.dtype)[:, None]
    after = {"count": before.get("count", 0) + counts, "sum": before.get("sum", 0) + inputs * counts}
    return after["sum"] / ops.maximum(after["count"], one), after


def running_max(inputs, before, mask):
    """`running` of the largest values; zero as long as no step counts."""
    one = ops.ones_like(inputs[:, :1])
    begun, largest = before.get("begun", ops.zeros_like(one)), before.get("largest", ops.zeros_like(inputs))
    counts = ops.ones_like(one, dtype="bool") if mask is None else mask[:, None]
    largest = ops.where(counts, ops.where(begun > 0, ops.maximum(largest, inputs), inputs), largest)
    return largest, {"begun": ops.where(counts, one, begun), "largest": largest}


@register()
class AttentionPooling(Configured, keras.layers.Layer):
    r"""A sequence in one vector: the mean of its steps, weighted by a learned attention.

        e_t = v · tanh(W h_t + b)        α = softmax(e)        y = Σ_t α_t h_t

    The weights W, b, v are `kernel`, shape `(features, units)`, `bias`, and `score_kernel`, shape
    `(units,)`. Steps that the mask hides have α = 0 exactly; a sequence without a step gives zeros.

    Args:
        units: size of the sum inside tanh; by default the number of features.
        return_alignments: whether to return α as well.
        kernel_initializer: how W and v start.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: shape `(batch, time, features)`.
        mask: shape `(batch, time)`, false at padding; by default the mask that the inputs carry.

    Returns:
        y, shape `(batch, features)`; with `return_alignments` the pair of y and α, shape `(batch, time)`.
    """

    source = "Yang et al. 2016, Hierarchical attention networks for document classification"

    def __init__(self, units=None, *, return_alignments=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.units = None if units is None else check_size("units", units)
        self.return_alignments = return_alignments
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.supports_masking = True

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
            inputs = ops.where(mask[..., None], inputs, 0)  # or a NaN in the padding would reach the sum
        alignment = ops.cast(align(self._scores(inputs), mask), self.compute_dtype)
        pooled = ops.matmul(alignment[:, None], inputs)[:, 0]
        return (pooled, alignment) if self.return_alignments else pooled

    def _scores(self, inputs):
        inner = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
        return ops.sum(inner * self.score_kernel, axis=-1)

    def running(self, inputs, before, mask):
        """The pooled steps so far, one step further: see `keras_gates.layers.pooling`."""
        score = self._scores(inputs)[:, None]
        score = ops.cast(score, keras.backend.result_type(score.dtype, "float32"))
        zero = ops.zeros_like(score)
        highest, weight = before.get("highest", zero), before.get("weight", zero)
        total = before.get("sum", ops.zeros_like(inputs))
        # Weights and sum are those of α over e^highest, so that nothing overflows.
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
        # e^0 of the highest is among the weights, so that any is at least one
        pooled = after["sum"] / ops.cast(ops.maximum(after["weight"], 1), total.dtype)
        return pooled, after

    def compute_mask(self, inputs, mask=None):
        return None
