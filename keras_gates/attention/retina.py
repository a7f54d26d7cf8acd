"""RAM: a retina that sees patches at several scales around a location that is drawn."""

import math
from typing import Any

import keras
from keras import ops

from keras_gates._arguments import check_size
from keras_gates.attention.cells import BahdanauCell
from keras_gates.attention.pictures import PictureAttention, through
from keras_gates.cells.base import register

SOURCE = "Mnih et al. 2014, Recurrent models of visual attention"
# What the query gives: the two coordinates of the location, and the baseline.
PARAMETERS = 3


def pooled_points(position, count, block, size):
    """The matrix by which a patch along one axis is read off pixels, `(batch, count, size)`.

    Args:
        position: the centre of the patch, in pixels from 0, shape `(batch, 1)`.
        count: of pixels of the patch, each of which is the mean of `block` points that lie a pixel apart and
            are interpolated linearly, with zeros outside the picture.
        size: of the picture.
    """
    points = position + ops.arange(count * block, dtype=position.dtype) - (count * block - 1) / 2
    distance = ops.abs(points[..., None] - ops.arange(size, dtype=position.dtype))
    weights = ops.relu(1 - distance)
    return ops.mean(ops.reshape(weights, (-1, count, block, size)), axis=2)


@register()
class RetinaAttention(PictureAttention):
    r"""A retina: square patches of a picture around one location, each twice as wide as the one before.

        mean = tanh(q W + b)        location = mean + stddev · ε in training, mean at inference

    All patches have `size` × `size` pixels: that of scale s = 0, 1, … is the mean of blocks of 2^s × 2^s
    points. Outside the picture all is zero. Locations are (x, y), from −1, the centre of the first pixel, to
    1, the centre of the last. The vector that is seen is the patches, row by row, `size·size·scales·channels`
    numbers, followed by the location. With `features`, the paper's network for a glimpse, the output of that
    stands in the place of the patches.

    A location that is drawn has no gradient: it is trained by REINFORCE (`keras_gates.GlimpseCell`). What
    that needs is in a trace too: `location` and `mean`, shape `(batch, 2)`; `log_prob`, the log density of
    the location, and `baseline`, the reward that is expected, each of shape `(batch, 1)`. The first two
    columns of the weights `kernel`, shape `(query, 3)`, and `bias` give the mean, the last the baseline.

    Args:
        size: height and width of a patch.
        scales: number of patches.
        stddev: standard deviation of the location in training.
        features: a layer that is applied to the patches, `(batch, size, size, scales·channels)`, or None.
        seed: seed of the draws. With the JAX backend, training needs `AttentionRNN(…, unroll=True)`, as in
            `ZoneoutCell`.
        kernel_initializer, **kwargs: as in `DrawAttention`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range, or the memory is not a
            picture.
    """

    source = SOURCE
    parameter_count = PARAMETERS

    def __init__(
        self,
        size: int,
        scales: int = 1,
        *,
        stddev: float = 0.1,
        features: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size, self.scales = check_size("size", size), check_size("scales", scales, most=16)
        if not isinstance(stddev, (int, float)) or not 0 < stddev < math.inf:
            raise ValueError(f"`stddev` must be a number greater than 0; got {stddev!r}.")
        if features is not None and not isinstance(features, keras.layers.Layer):
            raise TypeError(f"`features` must be a Keras layer or None; got {features!r}.")
        self.stddev = stddev
        self.features = features
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        if self.features is not None and not self.features.built:
            self.features.build(self._patches_shape)

    @property
    def _patches_shape(self):
        return (None, self.size, self.size, self.scales * super().seen_size)

    @property
    def seen_size(self):
        shape = self._patches_shape
        if self.features is not None:
            shape = self.features.compute_output_shape(shape)
        return math.prod(shape[1:]) + 2

    def advance(self, query, states, training=False):
        mean = ops.tanh(self.parameters(query)[:, :2])
        # The baseline learns from the cell, and not the cell from the baseline.
        baseline = self.parameters(ops.stop_gradient(query))[:, 2:]
        location = mean
        if training:
            noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
            location = mean + self.stddev * noise
        location = ops.stop_gradient(location)
        z = (location - mean) / self.stddev
        log_prob = -ops.sum(z**2, axis=-1, keepdims=True) / 2 - math.log(2 * math.pi * self.stddev**2)
        patches = ops.cast(self.patches(location), self.compute_dtype)
        if self.features is not None:
            patches = self.features(patches, training=training)
        seen = ops.reshape(patches, (-1, self.seen_size - 2))
        seen = ops.concatenate([seen, ops.cast(location, seen.dtype)], axis=-1)
        return seen, states, self.reported(location=location, mean=mean, log_prob=log_prob, baseline=baseline)

    def patches(self, location):
        """What is at locations `(batch, 2)`: the patches, `(batch, size, size, scales·channels)`."""
        height, width = self.memory.shape[1:3]
        x, y = ops.split((location + 1) / 2, 2, axis=-1)
        return ops.concatenate(
            [
                through(
                    pooled_points(y * (height - 1), self.size, 2**scale, height),
                    self.memory,
                    pooled_points(x * (width - 1), self.size, 2**scale, width),
                )
                for scale in range(self.scales)
            ],
            axis=-1,
        )


@register()
class GlimpseCell(BahdanauCell):
    r"""A `BahdanauCell` with a `RetinaAttention`, whose output also has what REINFORCE needs.

        output = [y, log π(location), baseline]

    y is the output of the wrapped cell. With the default `stddev`, a classifier of pictures in 6 glances is

        glances = keras.Input((6, 1)), keras.Input((28, 28, 1))     # zeros; the pictures
        cell = GlimpseCell(LSTMCell(128), RetinaAttention(8, scales=3))
        seen = AttentionRNN(cell, return_sequences=True)(glances[0], memory=glances[1])
        logits = keras.layers.Dense(10, name="digit")(seen[:, -1, :-2])
        policy = JoinSteps(name="policy")([seen[..., -2:], logits])
        model = keras.Model(glances, {"digit": logits, "policy": policy})
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", {"digit": loss, "policy": ReinforceLoss()})

    Args:
        cell, **kwargs: as in `AttentionCell`.
        attention: a `RetinaAttention`.

    Raises:
        TypeError: the attention is another one.
    """

    source = SOURCE

    def __init__(self, cell: keras.layers.Layer, attention: RetinaAttention, **kwargs: Any) -> None:
        if not isinstance(attention, RetinaAttention):
            raise TypeError(f"`attention` of GlimpseCell must be a RetinaAttention; got {attention!r}.")
        super().__init__(cell, attention, **kwargs)

    @property
    def output_size(self):
        return super().output_size + 2

    def call_with_gates(self, inputs, states, training=False):
        output, states, gates = super().call_with_gates(inputs, states, training)
        policy = [ops.cast(gates[name], output.dtype) for name in ("log_prob", "baseline")]
        return ops.concatenate([output, *policy], axis=-1), states, gates


@register()
class ReinforceLoss(keras.losses.Loss):
    r"""Trains where a `GlimpseCell` looks, by REINFORCE with a learned baseline.

        R = 1 if the class with the largest logit is the label, else 0
        loss = −Σ_t log π(location_t) (R − b_t) + Σ_t (R − b_t)²

    In the first sum R − b_t is a constant, so that its gradient is that of the expected reward; the second
    trains the baselines b_t, and nothing else.

    Args:
        name, **kwargs: of `keras.losses.Loss`.

    Call arguments:
        y_true: the labels, whole numbers, shape `(batch,)` or `(batch, 1)`.
        y_pred: for every glance log π, the baseline, and the logits of the classes, shape
            `(batch, time, 2 + classes)`.
    """

    def __init__(self, name: str = "reinforce_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        log_prob, baseline, logits = y_pred[..., 0], y_pred[..., 1], y_pred[:, -1, 2:]
        label = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        is_right = ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), label)
        advantage = ops.cast(is_right, y_pred.dtype)[:, None] - baseline
        return ops.sum(advantage**2 - log_prob * ops.stop_gradient(advantage), axis=-1)
