"""What the outputs of a step say about the next value, and how it is drawn.

A head gives for outputs of shape `(batch, …)`

- `noise_size(outputs)`: how many uniform numbers a draw needs for each row;
- `draw(outputs, noise, temperature)`: a value, drawn with `noise`, uniform numbers in [0, 1) of the shape
  `(batch, noise_size)`;
- `mode(outputs)`: the most probable value;
- `log_prob(outputs, value)`: its log probability or log density, shape `(batch,)`.

A layer that has these methods is the head of a model that ends with it, as `keras_gates.MixtureDensity` is.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

METHODS = ("noise_size", "draw", "mode", "log_prob")


@dataclass(frozen=True)
class Categorical:
    """One of several classes, a whole number; its outputs are logits, or probabilities, `(batch, classes)`.

    Args:
        from_logits: whether the outputs are logits.
        top_k: draw among the k most probable classes only; None for all.
        top_p: draw among the fewest classes, the most probable ones, that together have at least this
            probability (nucleus sampling, Holtzman et al. 2020); None for all. It looks at what temperature
            and `top_k` have left.
        suppress: classes that are never written, such as that of unknown words. The probabilities of the
            others, and so the scores, stay those of the model.
    """

    from_logits: bool = True
    top_k: int | None = None
    top_p: float | None = None
    suppress: tuple[int, ...] = ()

    def noise_size(self, outputs):
        return 1

    def log_probs(self, outputs):
        """Log probabilities of all classes, `(batch, classes)`, in float32 at least; −∞ if suppressed."""
        outputs = ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))
        if self.from_logits:
            log_probs = ops.log_softmax(outputs)
        else:
            log_probs = ops.log(ops.maximum(outputs, keras.config.epsilon() ** 4))
        return self._suppressed(log_probs)

    def _suppressed(self, outputs):
        if not self.suppress:
            return outputs
        is_suppressed = np.isin(np.arange(outputs.shape[-1]), self.suppress)
        return ops.where(is_suppressed, -float("inf"), outputs)

    def log_prob(self, outputs, value):
        return ops.take_along_axis(self.log_probs(outputs), value[:, None], axis=-1)[:, 0]

    def mode(self, outputs):
        return ops.cast(ops.argmax(self._suppressed(outputs), axis=-1), "int32")

    def draw(self, outputs, noise, temperature):
        log_probs = self.log_probs(outputs)
        log_probs = log_probs / ops.cast(temperature, log_probs.dtype)
        classes = None
        if self.top_k is not None or self.top_p is not None:
            kept = log_probs.shape[-1] if self.top_k is None else min(self.top_k, log_probs.shape[-1])
            log_probs, classes = ops.top_k(log_probs, kept)
        probs = ops.exp(log_probs - ops.max(log_probs, axis=-1, keepdims=True))  # up to a factor
        if self.top_p is not None:
            before = ops.cumsum(probs, axis=-1) - probs
            enough = self.top_p * ops.sum(probs, axis=-1, keepdims=True)
            # the most probable class always stays
            is_kept = ops.logical_or(before < enough, ops.arange(probs.shape[-1]) == 0)
            probs = ops.where(is_kept, probs, 0)
        position = _inverse_cdf(probs, ops.cast(noise, probs.dtype))
        if classes is None:
            return position
        return ops.cast(ops.take_along_axis(classes, position[:, None], axis=-1)[:, 0], "int32")


def _inverse_cdf(probs, noise):
    """The first position at which the sum of `probs` passes `noise`, uniform in [0, 1), of their total.

    It is never one of probability zero: where rounding takes the product up to the total, it is the last
    position at which the sum still grew.
    """
    sums = ops.cumsum(probs, axis=-1)
    total = sums[:, -1:]
    last = ops.sum(ops.cast(sums < total, "int32"), axis=-1)
    position = ops.sum(ops.cast(sums <= noise * total, "int32"), axis=-1)
    return ops.minimum(position, last)


@dataclass(frozen=True)
class Bernoulli:
    """Several values at once, each 0 or 1; its outputs are probabilities, or logits, `(batch, features)`.

    Args:
        from_logits: whether the outputs are logits.
    """

    from_logits: bool = False

    def noise_size(self, outputs):
        return outputs.shape[-1]

    def _logits(self, outputs):
        outputs = ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))
        if self.from_logits:
            return outputs
        tiny = keras.config.epsilon() ** 2
        return ops.log(ops.maximum(outputs, tiny)) - ops.log(ops.maximum(1 - outputs, tiny))

    def log_prob(self, outputs, value):
        logits = self._logits(outputs)
        value = ops.cast(value, logits.dtype)
        each = value * ops.log_sigmoid(logits) + (1 - value) * ops.log_sigmoid(-logits)
        return ops.sum(ops.reshape(each, (ops.shape(each)[0], -1)), axis=-1)

    def mode(self, outputs):
        return ops.cast(self._logits(outputs) > 0, outputs.dtype)

    def draw(self, outputs, noise, temperature):
        logits = self._logits(outputs)
        probs = ops.sigmoid(logits / ops.cast(temperature, logits.dtype))
        return ops.cast(ops.cast(noise, probs.dtype) < probs, outputs.dtype)


def head_of(layer):
    """The head of a model that ends with `layer`: the layer itself, or what its activation says.

    A softmax gives the probabilities of classes, a sigmoid those of yes-or-no values; anything else is taken
    for the logits of classes.
    """
    while isinstance(layer, keras.layers.Wrapper) and not _is_head(layer):
        layer = layer.layer
    if _is_head(layer):
        return layer
    # what ends a model may be an operation, such as `keras.ops.softmax`, rather than a layer
    ends = {type(layer).__name__.lower(), getattr(getattr(layer, "activation", None), "__name__", None)}
    if "softmax" in ends:
        return Categorical(from_logits=False)
    return Bernoulli() if "sigmoid" in ends else Categorical()


def _is_head(layer):
    return all(callable(getattr(layer, name, None)) for name in METHODS)
