"""Attention to a part of a picture: what the attentions whose memory is a picture have in common."""

from typing import Any

from keras import ops

from keras_gates._arguments import Initializer, resolve
from keras_gates.attention.base import Attention, widened


def through(rows, pictures, columns):
    """Pictures, filtered along both axes: rows · picture · columnsᵀ for each channel.

    Args:
        rows: shape `(batch, new height, height)`.
        pictures: shape `(batch, height, width, channels)`.
        columns: shape `(batch, new width, width)`.

    Returns:
        Shape `(batch, new height, new width, channels)`.
    """
    new_height, new_width, (height, width, channels) = rows.shape[1], columns.shape[1], pictures.shape[1:]
    filtered = ops.matmul(rows, ops.reshape(pictures, (-1, height, width * channels)))
    filtered = ops.transpose(ops.reshape(filtered, (-1, new_height, width, channels)), (0, 2, 1, 3))
    filtered = ops.matmul(columns, ops.reshape(filtered, (-1, width, new_height * channels)))
    return ops.transpose(ops.reshape(filtered, (-1, new_width, new_height, channels)), (0, 2, 1, 3))


class PictureAttention(Attention):
    """Base of the attentions whose memory is a picture, `(batch, height, width, channels)`.

    The query decides which part of the picture is seen, by a matrix and a bias: `parameters`. The height, the
    width and the channels of the memory must be known.

    Args:
        kernel_initializer: initializer of the matrix.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, *, kernel_initializer: Initializer = "glorot_uniform", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)

    def build(self, query_shape, memory_shape):
        super().build(query_shape, memory_shape)
        if len(memory_shape) != 4 or None in memory_shape[1:]:
            raise ValueError(
                f"{type(self).__name__} looks at pictures, (batch, height, width, channels), whose size is "
                f"known; got a memory of shape {tuple(memory_shape)}."
            )
        self.kernel = self.add_kernel("kernel", (query_shape[-1], self.parameter_count))
        self.bias = self.add_weight(shape=(self.parameter_count,), name="bias", initializer="zeros")

    @property
    def parameter_count(self):
        """How many numbers say where to look."""
        raise NotImplementedError(f"{type(self).__name__} must define `parameter_count`.")

    def attend_to(self, memory, mask=None):
        if mask is not None:
            raise ValueError(f"{type(self).__name__} looks at whole pictures: it takes no memory mask.")
        super().attend_to(memory)

    def parameters(self, query):
        """q W + b, in float32 or wider."""
        self.check_memory()
        return widened(ops.matmul(ops.cast(query, self.compute_dtype), self.kernel) + self.bias)

    def reported(self, **named):
        """What a trace shows, in the dtype of the layer."""
        return {name: ops.cast(x, self.compute_dtype) for name, x in named.items()}
