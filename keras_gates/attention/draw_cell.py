"""DRAW: an encoder that looks at a picture and at what is drawn of it, and a decoder that draws."""

import math
from typing import Any

import keras
from keras import ops

from keras_gates._arguments import Initializer, check_size, fresh, resolve
from keras_gates.attention.base import LARGEST_LOGIT, Attention, widened
from keras_gates.attention.draw import SOURCE, CanvasCell, DrawAttention
from keras_gates.cells.base import register
from keras_gates.cells.wrappers import WrapperCell, call_cell_with_gates

LATENT = "mean", "stddev", "kl"  # what a trace has of z


def innermost(cell):
    """What all wrappers around a cell wrap."""
    return innermost(cell.cell) if isinstance(cell, WrapperCell) else cell


@register()
class DrawCell(WrapperCell):
    r"""A variational autoencoder that draws a picture x in several steps.

        x̂ = x − σ(c)
        r = [x, x̂]        patch=None
        r = γ F_Y [x, x̂] F_Xᵀ        else, as `DrawAttention` reads, with the query h_dec
        h_enc' = cell([r, h_dec])
        (μ, log s) = h_enc' W + b        z = μ + s ⊙ ε
        h_dec', c' = canvas(z)
        KL = Σ (μ² + s² − log s² − 1) / 2

    The picture is the memory of `keras_gates.AttentionRNN`, and the sequence is the noise ε, standard normal,
    as many steps as are drawn: zeros give the most probable z. h_dec is the first state of the decoder inside
    `canvas`. The logarithm of s is clipped to ±16.

    The output is [c', KL], `(batch, height·width·channels + 1)`: the logits of the pixels after the step,
    and the KL divergence, in nats, of N(μ, s²) from the prior N(0, 1). So the variational lower bound of
    log p(x) is the Bernoulli log-likelihood of x given the last canvas, less the sum of KL over the steps.
    Samples of the prior, `RNN(canvas)(noise)`, are new pictures:

        noise, picture = keras.Input((10, 8)), keras.Input((28, 28, 1))
        canvas = CanvasCell(LSTMCell(64), (28, 28, 1), patch=5)
        layer = AttentionRNN(DrawCell(LSTMCell(64), canvas, 8, patch=5), return_sequences=True)
        model = keras.Model([noise, picture], layer(noise, memory=picture))
        generator = keras.Model(noise, RNN(canvas)(noise))

    W and b are the weights `latent_kernel`, shape `(h_enc, 2·latent)`, and `latent_bias`. The states are
    those of the encoder, followed by those of the canvas. A trace has the gates of the encoder, where it
    reads as `DrawAttention` reports it, `mean` and `stddev` of z and `kl`; and what the canvas reports, with
    `decoder_` before the names: `decoder_center` is where it writes.

    Args:
        cell: the encoder.
        canvas: a `CanvasCell` of the shape of the pictures: the decoder, and what it draws on.
        latent: size of z.
        patch: edge of the patch that is read, in filters; None to read whole pictures.
        kernel_initializer: initializer of W, and of where the patch is read.
        **kwargs: as in `WrapperCell`.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: a size is not positive, the memory or the noise has another shape, or a cell has dropout.
    """

    source = SOURCE

    def __init__(
        self,
        cell: keras.layers.Layer,
        canvas: CanvasCell,
        latent: int,
        *,
        patch: int | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, **kwargs)
        if not isinstance(canvas, CanvasCell):
            raise TypeError(f"`canvas` of DrawCell must be a CanvasCell; got {canvas!r}.")
        for inside in (innermost(cell), innermost(canvas)):
            # Keras draws the masks of a sequence for the cell of a layer only, not for two inside it.
            if getattr(inside, "dropout", 0) or getattr(inside, "recurrent_dropout", 0):
                raise ValueError(f"DrawCell takes cells without dropout; got {inside!r}.")
        self.canvas = canvas
        self.latent = check_size("latent", latent)
        self.patch = patch
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.attention: Attention = (
            Attention(dtype=self.dtype_policy)
            if patch is None
            else DrawAttention(patch, kernel_initializer=kernel_initializer, dtype=self.dtype_policy)
        )

    @property
    def states(self):
        return (*super().states, *(f"decoder_{name}" for name in self.canvas.states))

    @property
    def state_size(self):
        return [*super().state_size, *self.canvas.state_size]

    @property
    def output_size(self):
        return self.canvas.output_size + 1

    def get_initial_state(self, batch_size=None):
        return [*super().get_initial_state(batch_size), *self.canvas.get_initial_state(batch_size)]

    def build(self, input_shape):
        batch, features = input_shape
        if features != self.latent:
            raise ValueError(f"DrawCell takes noise of {self.latent} features, `latent`; got {features}.")
        shape, told = self.canvas.shape, self.attention.memory_shape
        if told is not None and tuple(told[1:]) != shape:
            raise ValueError(f"DrawCell draws pictures of shape {shape}; its memory has {tuple(told[1:])}.")
        drawn = self.canvas.state_size[0]
        if not self.attention.built:
            self.attention.build((batch, drawn), (batch, *shape))
        height, width, channels = shape
        places = height * width if self.patch is None else self.patch**2
        super().build((batch, 2 * channels * places + drawn))
        if not self.canvas.built:
            self.canvas.build((batch, self.latent))
        self.latent_kernel = self.add_weight(
            shape=(super().output_size, 2 * self.latent),
            name="latent_kernel",
            initializer=fresh(self.kernel_initializer),
        )
        self.latent_bias = self.add_weight(shape=(2 * self.latent,), name="latent_bias", initializer="zeros")
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: self.latent})

    def call_with_gates(self, inputs, states, training=False):
        count = len(super().state_size)
        encoded, decoded = states[:count], states[count:]
        seen, looked = self._read(decoded[0], decoded[-1])
        seen = ops.concatenate([seen, decoded[0]], axis=-1)
        h, encoded, gates = call_cell_with_gates(self.cell, seen, encoded, training)
        mean, log_stddev = ops.split(
            widened(ops.matmul(h, self.latent_kernel) + self.latent_bias), 2, axis=-1
        )
        log_stddev = ops.clip(log_stddev, -LARGEST_LOGIT, LARGEST_LOGIT)
        stddev = ops.exp(log_stddev)
        z = ops.cast(mean + stddev * ops.cast(inputs, mean.dtype), self.compute_dtype)
        drawn, decoded, written = self.canvas.call_with_gates(z, decoded, training)
        kl = ops.sum(mean**2 + ops.expm1(2 * log_stddev) - 2 * log_stddev, axis=-1, keepdims=True) / 2
        own = {name: ops.cast(x, drawn.dtype) for name, x in zip(LATENT, (mean, stddev, kl), strict=True)}
        of_decoder = {f"decoder_{name}": x for name, x in written.items()}
        output = ops.concatenate([drawn, own["kl"]], axis=-1)
        return output, [*encoded, *decoded], {**gates, **looked, **own, **of_decoder}

    def _read(self, query, canvas):
        """What the encoder sees of the picture and of what is missing in the canvas, and where it looks."""
        self.attention.check_memory()
        picture = self.attention.memory
        missing = picture - ops.sigmoid(ops.reshape(canvas, (-1, *self.canvas.shape)))
        both = ops.concatenate([picture, missing], axis=-1)
        if isinstance(self.attention, DrawAttention):
            return self.attention.read(both, query)
        return ops.reshape(both, (-1, 2 * math.prod(self.canvas.shape))), {}
