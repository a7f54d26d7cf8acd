"""The network that foretells notes, and how well it does."""

import keras
import numpy as np
from keras import ops

from experiments.common.recurrent import recurrent_stack
from experiments.music.data import KEYS


class FrameLoss(keras.Loss):
    """The negative log-likelihood of a frame in nats: the sum over all keys, each sounding or not.

    Targets (batch, time, 88), logits alike; the mean is that over frames of weight 1.
    """

    def __init__(self, name="frame_loss"):
        super().__init__(name=name, reduction="mean_with_sample_weight")

    def call(self, y_true, y_pred):
        return ops.sum(ops.binary_crossentropy(y_true, y_pred, from_logits=True), axis=-1)


def network(options):
    """The model from frames (batch, time, 88) to the logits of the next ones."""
    frames = keras.Input((None, KEYS), name="frames")
    features = keras.layers.Dropout(options.dropout)(recurrent_stack(frames, options))
    return keras.Model(frames, keras.layers.Dense(KEYS, name="logits")(features))


def foretelling(model):
    """The model from frames to the probability of each key in the next frame."""
    return keras.Model(model.input, keras.layers.Activation("sigmoid", name="probabilities")(model.output))


def independent(pieces):
    """The logits of keys that sound as often as in these pieces, whatever sounded before: (88,)."""
    frames = np.concatenate(pieces)
    share = (frames.sum(axis=0) + 1) / (len(frames) + 2)  # a key that never sounds may still sound
    return np.log(share / (1 - share)).astype("float32")
