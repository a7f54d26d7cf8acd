"""DRAW: a grid of Gaussian filters reads a patch of a picture, or writes one onto a canvas."""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_gates._arguments import Initializer, check_size, fresh, resolve
from keras_gates.attention.base import exp_of_logit, widened
from keras_gates.attention.pictures import PictureAttention, through
from keras_gates.cells.base import register
from keras_gates.cells.wrappers import WrapperCell

SOURCE = "Gregor et al. 2015, DRAW: A recurrent neural network for image generation"
GRID_PARAMETERS = 5


class Grid(NamedTuple):
    """A grid of N × N Gaussian filters on a picture of A columns and B rows; in float32 or wider.

    rows: F_Y, shape `(batch, N, B)`.
    columns: F_X, shape `(batch, N, A)`.
    center: (g_X, g_Y), in pixels from 0, shape `(batch, 2)`.
    stride: δ, the distance of neighbouring filters in pixels, shape `(batch, 1)`.
    variance: σ², in square pixels, shape `(batch, 1)`.
    intensity: γ, shape `(batch, 1)`.
    """

    rows: Any
    columns: Any
    center: Any
    stride: Any
    variance: Any
    intensity: Any

    def parameters(self):
        """Where the grid is, by name."""
        named = self._asdict()
        return {name: named[name] for name in ("center", "stride", "variance", "intensity")}


def grid(parameters, height, width, patch):
    r"""The `Grid` that five numbers say.

        (g̃_X, g̃_Y, log σ², log δ̃, log γ) = parameters
        g_X = (A + 1)/2 · (g̃_X + 1)        g_Y = (B + 1)/2 · (g̃_Y + 1)
        δ = (max(A, B) − 1)/(N − 1) · δ̃
        μ_i = g + (i − N/2 − 0.5) δ,  i = 1 … N
        F_ia = exp(−(a − μ_i)²/(2σ²)) / Z_i,  a = 1 … A;  each row sums to one

    The logarithms are clipped to ±16. A filter outside the picture sees its edge.

    Args:
        parameters: shape `(batch, 5)`.
        height, width: B and A.
        patch: N.
    """
    x, y, *logits = ops.split(parameters, GRID_PARAMETERS, axis=-1)
    variance, stride, intensity = map(exp_of_logit, logits)
    x, y = (width + 1) / 2 * (x + 1) - 1, (height + 1) / 2 * (y + 1) - 1  # the paper counts pixels from 1
    stride = (max(width, height) - 1) / max(patch - 1, 1) * stride
    offsets = ops.arange(patch, dtype=parameters.dtype) - (patch - 1) / 2

    def filters(center, size):
        distance = ops.arange(size, dtype=parameters.dtype) - (center + offsets * stride)[..., None]
        log_weights = -(distance**2) / (2 * variance[..., None])
        # Divided by the largest, since all are zero in float32 where the picture is far away.
        largest = ops.max(log_weights, axis=-1, keepdims=True)
        weights = ops.exp(log_weights - ops.stop_gradient(largest))
        return weights / ops.sum(weights, axis=-1, keepdims=True)

    center = ops.concatenate([x, y], axis=-1)
    return Grid(filters(y, height), filters(x, width), center, stride, variance, intensity)


@register()
class DrawAttention(PictureAttention):
    r"""A grid of N × N Gaussian filters reads a patch of the picture: blurred and wide, or sharp and small.

        seen = γ F_Y m F_Xᵀ,  the filters and γ from q W + b as in `grid`

    The vector that is seen is the patch, row by row: `(batch, N·N·channels)`. W and b are the weights
    `kernel`, shape `(query, 5)`, and `bias`.

    A trace has `center`, the middle of the grid as (x, y) in pixels from 0, shape `(batch, 2)`; `stride`, the
    distance of its filters in pixels, `variance` and `intensity`, each of shape `(batch, 1)`.

    Args:
        patch: N.
        kernel_initializer: initializer of W.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        TypeError, ValueError: `patch` is not a positive integer, or the memory is not a picture.
    """

    source = SOURCE
    parameter_count = GRID_PARAMETERS

    def __init__(self, patch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch = check_size("patch", patch)

    @property
    def seen_size(self):
        return self.patch**2 * super().seen_size

    def advance(self, query, states, training=False):
        seen, reported = self.read(self.memory, query)
        return seen, states, reported

    def read(self, pictures, query):
        """A patch of each picture, where the query says.

        Args:
            pictures: of the memory's height and width, shape `(batch, height, width, channels)`.
            query: shape `(batch, size)`.

        Returns:
            The patches, row by row, shape `(batch, N·N·channels)`; and what a trace has, by name.
        """
        parameters = self.parameters(query)
        height, width, channels = pictures.shape[1:]
        at = grid(parameters, height, width, self.patch)
        patch = at.intensity[..., None, None] * through(at.rows, pictures, at.columns)
        seen = ops.reshape(patch, (-1, self.patch**2 * channels))
        return ops.cast(seen, self.compute_dtype), self.reported(**at.parameters())


@register()
class CanvasCell(WrapperCell):
    r"""A cell that draws: it adds a patch to a canvas in every step, by a grid of Gaussian filters.

        y, s' = cell(x, s)
        (parameters of the grid, w) = y W + b
        c' = c + 1/γ · F_Yᵀ w F_X,  the filters and γ as in `grid`

    The output is the canvas c' row by row, `(batch, height·width·channels)`, and it is the last state, which
    starts at zero. Without `patch`, the whole canvas is written at once: c' = c + y W + b. W and b are the
    weights `write_kernel` and `write_bias`, and `initial_canvas` is the canvas before the first step where
    that is learned. A trace has the gates of the wrapped cell, and those of `DrawAttention` for the grid that
    writes.

    Args:
        cell: the wrapped cell.
        shape: of the canvas, `(height, width, channels)`.
        patch: N, or None.
        kernel_initializer: initializer of W.
        learn_initial_state: whether the canvas before the first step is trainable (initially zero) rather
            than zero.
        **kwargs: as in `WrapperCell`.

    Raises:
        TypeError, ValueError: `cell` is not a single recurrent cell, or a size is not a positive integer.
    """

    source = SOURCE

    def __init__(
        self,
        cell: keras.layers.Layer,
        shape: tuple[int, int, int],
        *,
        patch: int | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        learn_initial_state: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, **kwargs)
        if not isinstance(shape, (tuple, list)) or len(shape) != 3:
            raise ValueError(f"`shape` must be (height, width, channels); got {shape!r}.")
        self.shape = tuple(check_size("shape", size) for size in shape)
        self.patch = None if patch is None else check_size("patch", patch)
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.learn_initial_state = learn_initial_state

    @property
    def output_size(self):
        return math.prod(self.shape)

    @property
    def states(self):
        return (*super().states, "canvas")

    @property
    def state_size(self):
        return [*super().state_size, self.output_size]

    def get_initial_state(self, batch_size=None):
        canvas = ops.zeros((batch_size, self.output_size), self.compute_dtype)
        if self.learn_initial_state:
            canvas = canvas + ops.cast(self.initial_canvas, canvas.dtype)
        return [*super().get_initial_state(batch_size), canvas]

    def build(self, input_shape):
        super().build(input_shape)
        width = self.output_size
        if self.patch is not None:
            width = GRID_PARAMETERS + self.patch**2 * self.shape[-1]
        self.write_kernel = self.add_weight(
            shape=(super().output_size, width),
            name="write_kernel",
            initializer=fresh(self.kernel_initializer),
        )
        self.write_bias = self.add_weight(shape=(width,), name="write_bias", initializer="zeros")
        if self.learn_initial_state:
            self.initial_canvas = self.add_weight(
                shape=(self.output_size,), name="initial_canvas", initializer="zeros"
            )

    def call_with_gates(self, inputs, states, training=False):
        *states, canvas = states
        output, states, gates = super().call_with_gates(inputs, states, training)
        stroke, written = self._stroke(ops.matmul(output, self.write_kernel) + self.write_bias)
        canvas = canvas + ops.cast(stroke, canvas.dtype)
        return canvas, [*states, canvas], {**gates, **written}

    def _stroke(self, parameters):
        """What is added to the canvas, and where, from what the network says."""
        if self.patch is None:
            return parameters, {}
        height, width, channels = self.shape
        place, patch = ops.split(parameters, [GRID_PARAMETERS], axis=-1)
        at = grid(widened(place), height, width, self.patch)
        patch = ops.cast(ops.reshape(patch, (-1, self.patch, self.patch, channels)), at.rows.dtype)
        stroke = through(ops.swapaxes(at.rows, 1, 2), patch, ops.swapaxes(at.columns, 1, 2))
        stroke = ops.reshape(stroke, (-1, self.output_size)) / at.intensity
        return stroke, {name: ops.cast(x, parameters.dtype) for name, x in at.parameters().items()}
