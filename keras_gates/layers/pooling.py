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
