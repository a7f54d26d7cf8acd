"""The network that reads a picture as a sequence."""

import keras
import numpy as np
from keras import ops

from experiments.common.recurrent import recurrent_stack


def network(shape, classes, options):
    """The model from uint8 pictures (batch, height, width) to logits (batch, classes).

    shape: (height, width).
    """
    pictures = keras.Input(shape, dtype="uint8", name="pictures")
    steps = steps_of(ops.cast(pictures, "float32") / 255, options)
    features = recurrent_stack(steps, options, return_sequences=False)
    return keras.Model(pictures, keras.layers.Dense(classes, name="logits")(features))


def steps_of(pictures, options):
    """Pictures as sequences: (batch, height, width) by row, (batch, height · width, 1) by pixel."""
    height, width = pictures.shape[1:]
    if options.permuted:
        pixels = ops.reshape(pictures, (-1, height * width))
        pictures = ops.reshape(ops.take(pixels, order(height * width), axis=1), (-1, height, width))
    return pictures if options.by == "row" else ops.reshape(pictures, (-1, height * width, 1))


def order(pixels):
    """The order in which permuted pixels are read, the same in every run."""
    return np.random.default_rng(0).permutation(pixels)


def serving(model):
    """The model from pictures to the probabilities of the classes."""
    return keras.Model(model.input, keras.layers.Softmax(name="probabilities")(model.output))
