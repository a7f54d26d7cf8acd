"""Affine transformations of pictures, sampled bilinearly; and the attention that looks through one."""

from typing import Any, Literal, TypeAlias

from keras import ops

from keras_gates._arguments import Initializer, check_choice, check_size
from keras_gates.attention.pictures import PictureAttention
from keras_gates.cells.base import register

FillMode: TypeAlias = Literal["constant", "nearest", "reflect", "mirror", "wrap"]
FILL_MODES = ("constant", "nearest", "reflect", "mirror", "wrap")
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# By name: for each parameter, the entries of θ, counted along its rows, to which it is added.
TRANSFORMS = {
    "affine": ((0,), (1,), (2,), (3,), (4,), (5,)),
    "scale_and_translation": ((0, 4), (2,), (5,)),
}


def entries_of(transform):
    """For each parameter of a transformation, the entries of θ to which it is added.

    Args:
        transform: a name in `TRANSFORMS`, or the free entries of θ as pairs (row, column).

    Raises:
        ValueError: it is neither.
    """
    if isinstance(transform, str) and transform in TRANSFORMS:
        return TRANSFORMS[transform]
    known = [(row, column) for row in range(2) for column in range(3)]
    free = [tuple(entry) for entry in transform] if _is_nested(transform) else []
    if not free or len(set(free)) < len(free) or not set(free) <= set(known):
        raise ValueError(
            f"`transform` must be one of {', '.join(map(repr, TRANSFORMS))}, or entries of the 2 × 3 matrix "
            f"θ, pairs (row, column) that differ, such as [(0, 2), (1, 2)]; got {transform!r}."
        )
    return tuple((known.index(entry),) for entry in free)


def _is_nested(value):
    return isinstance(value, (list, tuple)) and all(isinstance(entry, (list, tuple)) for entry in value)


def theta_of(parameters, entries):
    """θ, shape `(batch, 2, 3)`: the identity, plus the parameters `(batch, count)` at their entries."""
    place = [[float(k in each) for k in range(6)] for each in entries]
    theta = ops.matmul(parameters, ops.convert_to_tensor(place, parameters.dtype))
    return ops.reshape(theta + ops.convert_to_tensor(IDENTITY, parameters.dtype), (-1, 2, 3))


def transformed(pictures, theta, size, fill_mode="constant", fill_value=0.0):
    r"""Pictures, seen through affine transformations, one each.

        (x_s, y_s) = θ (x_t, y_t, 1)

    gives for each pixel (x_t, y_t) of the result where in the picture it is taken from. Coordinates run from
    −1, the centre of the first pixel, to 1, the centre of the last.

    Args:
        pictures: shape `(batch, height, width, channels)`.
        theta: shape `(batch, 2, 3)`.
        size: height and width of the result.
        fill_mode, fill_value: as in `sampled`.

    Returns:
        Shape `(batch, *size, channels)`.
    """
    height, width = pictures.shape[1:3]
    y, x = ops.meshgrid(*(_coordinates(count, theta.dtype) for count in size), indexing="ij")
    target = ops.stack([x, y, ops.ones_like(x)])
    source = ops.matmul(theta, ops.reshape(target, (3, -1)))
    source = ops.reshape(source, (-1, 2, *size))
    x, y = (source[:, 0] + 1) / 2 * (width - 1), (source[:, 1] + 1) / 2 * (height - 1)
    return sampled(pictures, y, x, fill_mode, fill_value)


def _coordinates(count, dtype):
    return ops.linspace(-1.0, 1.0, count, dtype=dtype) if count > 1 else ops.zeros((1,), dtype)


def sampled(pictures, y, x, fill_mode="constant", fill_value=0.0):
    """Pictures at any points, interpolated bilinearly.

    Differentiable in the pictures and in the points.

    Args:
        pictures: shape `(batch, height, width, channels)`.
        y, x: row and column of each point in pixels, from 0, shape `(batch, …)`.
        fill_mode: how a picture goes on beyond its edges, as in `keras.ops.image.map_coordinates`:

            - `"constant"`: by `fill_value`; from the last pixel to the next position it is interpolated
              (SciPy's `grid-constant`);
            - `"nearest"`: by its last pixel;
            - `"reflect"`: mirrored about the edge of the last pixel;
            - `"mirror"`: mirrored about the centre of the last pixel;
            - `"wrap"`: repeated (SciPy's `grid-wrap`).
        fill_value: the value beyond the edges for `"constant"`.

    Returns:
        Shape `(batch, …, channels)`.
    """
    height, width, channels = pictures.shape[1:]
    batch, points = ops.shape(y)[0], ops.shape(y)[1:]
    first = ops.reshape(ops.arange(batch) * (height * width), (-1,) + (1,) * (len(y.shape) - 1))
    flat = ops.reshape(pictures, (-1, channels))
    total = 0
    for row, row_weight, row_inside in _neighbours(y, height, fill_mode):
        for column, column_weight, column_inside in _neighbours(x, width, fill_mode):
            value = ops.take(flat, ops.reshape(first + row * width + column, (-1,)), axis=0)
            value = ops.reshape(value, (-1, *points, channels))
            if fill_mode == "constant":
                inside = ops.logical_and(row_inside, column_inside)
                value = ops.where(inside[..., None], value, ops.cast(fill_value, value.dtype))
            total = total + value * ops.cast(row_weight * column_weight, value.dtype)[..., None]
    return total


def _neighbours(position, size, fill_mode):
    """The two pixels beside each position along an axis: their index, their weight, whether they exist."""
    position = _folded(position, size, fill_mode)
    below = ops.floor(position)
    weight = position - ops.stop_gradient(below)
    # The clip keeps a NaN, of which the index would be anything, within the picture; it stays in the weight.
    below = ops.cast(ops.clip(ops.where(ops.isfinite(below), below, 0), -1, 2 * size), "int32")
    for index, its_weight in ((below, 1 - weight), (below + 1, weight)):
        inside = ops.logical_and(index >= 0, index < size)
        yield _index(index, size, fill_mode), its_weight, inside


def _folded(position, size, fill_mode):
    """A position that sees the same, not further from the picture than a pixel or a period."""
    if fill_mode == "constant":
        return ops.clip(position, -1, size)
    if fill_mode == "nearest":
        return ops.clip(position, 0, size - 1)
    period = _period(size, fill_mode)
    return position - ops.stop_gradient(ops.floor(position / period)) * period


def _period(size, fill_mode):
    return {"reflect": 2 * size, "mirror": max(2 * (size - 1), 1), "wrap": size}[fill_mode]


def _index(index, size, fill_mode):
    """The index of the pixel that stands where the picture goes on."""
    if fill_mode in ("constant", "nearest"):
        return ops.clip(index, 0, size - 1)
    index = index % _period(size, fill_mode)
    if fill_mode == "wrap":
        return index
    last = 2 * size - 1 if fill_mode == "reflect" else 2 * (size - 1)
    return ops.minimum(index, last - index)


@register()
class AffineAttention(PictureAttention):
    r"""Looks at a picture through an affine transformation that the query gives anew in every step.

        θ = identity + (q W + b at the free entries)        seen = m through θ

    A recurrent spatial transformer. W and b, the weights `kernel`, shape `(query, parameters)`, and `bias`,
    start at zero: at first it sees the whole picture. The vector that is seen is the result, row by row:
    `(batch, height·width·channels)`, with the height and width of `size`. A trace has `theta`, shape
    `(batch, 6)`, its rows side by side.

    Args:
        size: height and width of what is seen.
        transform, fill_mode, fill_value: as in `SpatialTransformer`.
        kernel_initializer: initializer of W.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or unknown, or the memory is not a picture.
    """

    source = (
        "Sønderby et al. 2015, Recurrent spatial transformer networks; "
        "Jaderberg et al. 2015, Spatial transformer networks"
    )

    def __init__(
        self,
        size: tuple[int, int],
        *,
        transform: str | list[tuple[int, int]] = "affine",
        fill_mode: FillMode = "constant",
        fill_value: float = 0.0,
        kernel_initializer: Initializer = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_initializer=kernel_initializer, **kwargs)
        self.size = check_picture_size(size)
        self.transform = transform
        self.entries = entries_of(transform)
        self.fill_mode = check_choice("fill_mode", fill_mode, FILL_MODES)
        self.fill_value = fill_value

    @property
    def parameter_count(self):
        return len(self.entries)

    @property
    def seen_size(self):
        return self.size[0] * self.size[1] * super().seen_size

    def advance(self, query, states, training=False):
        theta = theta_of(self.parameters(query), self.entries)
        picture = transformed(self.memory, theta, self.size, self.fill_mode, self.fill_value)
        seen = ops.reshape(picture, (-1, self.seen_size))
        return seen, states, self.reported(theta=ops.reshape(theta, (-1, 6)))


def check_picture_size(size):
    """Return height and width as a tuple, or raise an error that names the argument `size`."""
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"`size` must be (height, width); got {size!r}.")
    return tuple(check_size("size", each) for each in size)
