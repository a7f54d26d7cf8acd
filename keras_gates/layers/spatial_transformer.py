"""A layer that transforms a picture as a network that looks at it says."""

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import Configured, Initializer, check_choice, fresh, resolve
from keras_gates.attention.affine import (
    FILL_MODES,
    FillMode,
    check_picture_size,
    entries_of,
    theta_of,
    transformed,
)
from keras_gates.attention.base import widened
from keras_gates.cells.base import register


@register()
class SpatialTransformer(Configured, keras.layers.Layer):
    r"""Straightens, moves and scales a picture: an affine transformation, given by a localisation network.

        θ = identity + (localisation(x) W + b at the free entries)
        (x_s, y_s) = θ (x_t, y_t, 1)

    gives for each pixel (x_t, y_t) of the result where in the picture it is taken from, bilinearly.
    Coordinates run from −1, the centre of the first pixel, to 1, the centre of the last. W and b, the weights
    `kernel` and `bias`, start at zero: at first the layer is the identity (but for the size of the result).

        localise = keras.Sequential([keras.layers.Conv2D(8, 5), keras.layers.Flatten()])
        straight = keras_gates.SpatialTransformer(localise)(pictures)

    A localisation network that gives a sequence, `(batch, time, features)`, makes it recurrent (Sønderby et
    al. 2015): it gives a θ, and there is a result, for every step.

    Args:
        localisation: a layer or model from pictures to features, `(batch, features)`, or to a sequence of
            them. Its shapes must be known from the shape of the pictures.
        size: height and width of the result; by default those of the pictures.
        transform: which entries of the 2 × 3 matrix θ the network gives: `"affine"`, all of them;
            `"scale_and_translation"`, one scale for both axes, and the last column; or a list of pairs (row,
            column). The others are those of the identity.
        fill_mode: how a picture goes on beyond its edges: `"constant"`, `"nearest"`, `"reflect"`, `"mirror"`
            or `"wrap"`, as in `keras.ops.image.map_coordinates`.
        fill_value: the value beyond the edges for `"constant"`.
        kernel_initializer: initializer of W.
        return_theta: whether to return θ as well.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        pictures: shape `(batch, height, width, channels)`.
        training: whether behaviour of the localisation network that is specific to training applies.

    Returns:
        Shape `(batch, *size, channels)`; for a sequence `(batch, time, *size, channels)`. With `return_theta`
        a pair of it and θ, shape `(batch, 2, 3)` or `(batch, time, 2, 3)`.

    Raises:
        TypeError: `localisation` is not a Keras layer, or a size is not an integer.
        ValueError: an argument is unknown or out of range; the inputs are not pictures of a known size; or
            the localisation network gives neither features nor a sequence of them.
    """

    source = "Jaderberg et al. 2015, Spatial transformer networks"

    def __init__(
        self,
        localisation: keras.layers.Layer,
        size: tuple[int, int] | None = None,
        *,
        transform: str | list[tuple[int, int]] = "affine",
        fill_mode: FillMode = "constant",
        fill_value: float = 0.0,
        kernel_initializer: Initializer = "zeros",
        return_theta: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(localisation, keras.layers.Layer):
            raise TypeError(f"`localisation` must be a Keras layer or model; got {localisation!r}.")
        self.localisation = localisation
        self.size = None if size is None else check_picture_size(size)
        self.transform = transform
        self.entries = entries_of(transform)
        self.fill_mode = check_choice("fill_mode", fill_mode, FILL_MODES)
        self.fill_value = fill_value
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.return_theta = return_theta

    def build(self, input_shape):
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                f"{type(self).__name__} transforms pictures, (batch, height, width, channels), whose size is "
                f"known; got inputs of shape {tuple(input_shape)}."
            )
        if not self.localisation.built:
            self.localisation.build(input_shape)
        features = self.localisation.compute_output_shape(input_shape)
        if len(features) not in (2, 3) or features[-1] is None:
            raise ValueError(
                f"`localisation` of {type(self).__name__} must give (batch, features), or (batch, time, "
                f"features), as by a Flatten at its end; it gives {tuple(features)}."
            )
        self.kernel = self.add_weight(
            shape=(features[-1], len(self.entries)),
            name="kernel",
            initializer=fresh(self.kernel_initializer),
        )
        self.bias = self.add_weight(shape=(len(self.entries),), name="bias", initializer="zeros")
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))

    def theta(self, pictures, training=False):
        """θ for each picture, shape `(batch, 2, 3)`; for a sequence `(batch, time, 2, 3)`."""
        features = ops.cast(self.localisation(pictures, training=training), self.compute_dtype)
        parameters = widened(ops.matmul(features, self.kernel) + self.bias)
        theta = theta_of(ops.reshape(parameters, (-1, len(self.entries))), self.entries)
        return ops.reshape(theta, (*ops.shape(parameters)[:-1], 2, 3))

    def call(self, pictures, training=False):
        theta = self.theta(pictures, training)
        views = self._views(pictures, theta)
        return (views, theta) if self.return_theta else views

    def _views(self, pictures, theta):
        size = self.size or pictures.shape[1:3]
        if len(theta.shape) == 3:
            return transformed(pictures, theta, size, self.fill_mode, self.fill_value)
        steps = ops.shape(theta)[1]
        each = ops.repeat(pictures, steps, axis=0)
        result = transformed(each, ops.reshape(theta, (-1, 2, 3)), size, self.fill_mode, self.fill_value)
        return ops.reshape(result, (-1, steps, *size, pictures.shape[-1]))

    def compute_output_shape(self, input_shape):
        before = self.localisation.compute_output_shape(input_shape)[:-1]
        views = (*before, *(self.size or input_shape[1:3]), input_shape[-1])
        return (views, (*before, 2, 3)) if self.return_theta else views
