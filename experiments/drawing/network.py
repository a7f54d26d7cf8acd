"""The network that draws: DRAW (Gregor et al. 2015), and what trains it."""

import math

import keras
import tensorflow as tf
from keras import ops

import keras_gates
from experiments.drawing import TASK

ATTENTIONS = ("none", "filters")
# Steps up to which the loop is unrolled: an unrolled one is a fifth faster, and takes longer to build.
UNROLLED = 16
THRESHOLD = 128  # a pixel of at least this is ink


def network(shape, options):
    """Pictures of uint8 (batch, height, width), and noise (batch, steps, latent) -> the parts of the bound.

    shape: (height, width).

    Returns a model with the output (batch, height·width + steps): the logits of the pixels of the last
    canvas, and the KL divergence of each step, as `reconstruction` and `divergence` take them. The layer
    `drawing` has the canvases of all steps.
    """
    has_filters = options.attention == "filters"
    read, write = (options.read_size, options.write_size) if has_filters else (None, None)
    canvas = keras_gates.CanvasCell(_cell(options), (*shape, 1), patch=write, learn_initial_state=True)
    cell = keras_gates.DrawCell(_cell(options), canvas, options.latent, patch=read)
    pictures = keras.Input(shape, dtype="uint8", name="pictures")
    noise = keras.Input((options.steps, options.latent), name="noise")
    layer = keras_gates.AttentionRNN(cell, return_sequences=True, unroll=options.steps <= UNROLLED, name=TASK)
    drawn = layer(noise, memory=_ink(pictures))
    outputs = ops.concatenate([drawn[:, -1, :-1], drawn[..., -1]], axis=-1)
    return keras.Model({"pictures": pictures, "noise": noise}, outputs, name=TASK)


def _cell(options):
    return keras_gates.cell_classes()[options.cell](options.units)


def _ink(pictures):
    """1 where there is ink and 0 elsewhere, (batch, height, width, 1)."""
    return ops.expand_dims(ops.cast(pictures >= THRESHOLD, "float32"), -1)


def start_from(model, ink):
    """Let a network's canvas begin with the probability of ink of each pixel, (height, width)."""
    model.get_layer(TASK).cell.canvas.initial_canvas.assign(ops.reshape(ops.log(ink / (1 - ink)), (-1,)))


# -- what is trained


def reconstruction(pictures, outputs):
    """−log p(picture | the last canvas), in nats, (batch,)."""
    ink = ops.reshape(_ink(pictures), (-1, math.prod(pictures.shape[1:])))
    logits = outputs[:, : ink.shape[-1]]
    return ops.sum(ops.binary_crossentropy(ink, logits, from_logits=True), axis=-1)


def divergence(pictures, outputs):
    """The KL divergence of all z, given the picture, from the prior, in nats, (batch,)."""
    return ops.sum(outputs[:, math.prod(pictures.shape[1:]) :], axis=-1)


class Bound(keras.losses.Loss):
    """Minus the variational lower bound of log p(picture), in nats: reconstruction and divergence."""

    def __init__(self, name="bound", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return reconstruction(y_true, y_pred) + divergence(y_true, y_pred)


def metrics():
    return tuple(
        keras.metrics.MeanMetricWrapper(measure, name=measure.__name__)
        for measure in (reconstruction, divergence)
    )


# -- what is saved


def serving(model):
    """The model that draws given pictures again, with the most probable z in every step.

    It returns `canvases`, the probability of ink after every step, (batch, steps, height, width), and `kl`,
    the divergence of z in every step, in nats, (batch, steps).
    """
    pictures = keras.Input(model.input["pictures"].shape[1:], dtype="uint8", name="pictures")
    steps, latent = model.input["noise"].shape[1:]
    noise = ops.tile(ops.zeros_like(pictures[:, :1, :1], "float32"), (1, steps, latent))
    drawn = model.get_layer(TASK)(noise, memory=_ink(pictures))
    answer = {"canvases": _pictures(drawn[..., :-1], pictures.shape[1:]), "kl": drawn[..., -1]}
    return keras.Model(pictures, answer, name=TASK)


def generator(model):
    """The model from seeds, whole numbers (batch,), to new pictures.

    It returns the probability of ink after every step, (batch, steps, height, width). A seed always gives
    the same picture, whatever others stand beside it.
    """
    shape = model.input["pictures"].shape[1:]
    seeds = keras.Input((), dtype="int32", name="seeds")
    noise = SeededNoise(*model.input["noise"].shape[1:], name="noise")(seeds)
    canvas = model.get_layer(TASK).cell.canvas
    canvases = keras_gates.RNN(canvas, return_sequences=True, name=TASK)(noise)
    return keras.Model(seeds, _pictures(canvases, shape), name="generator")


def _pictures(logits, shape):
    """Logits (batch, steps, height·width) as probabilities (batch, steps, height, width)."""
    return ops.sigmoid(ops.reshape(logits, (-1, logits.shape[1], *shape)))


class SeededNoise(keras.layers.Layer):
    """Seeds (batch,) -> standard normal numbers (batch, steps, size), each row by its seed alone."""

    def __init__(self, steps, size, **kwargs):
        super().__init__(**kwargs)
        self.shape = steps, size

    def call(self, seeds):
        def of(seed):
            return tf.random.stateless_normal(self.shape, tf.stack([seed, 0]))

        return tf.map_fn(of, seeds, fn_output_signature=tf.TensorSpec(self.shape, tf.float32))

    def compute_output_spec(self, seeds):
        return keras.KerasTensor((seeds.shape[0], *self.shape), "float32")
