"""The network that foretells notes, and how well it does."""

import keras
import numpy as np
from keras import ops

from experiments.common.recurrent import recurrent_stack
from experiments.music.data import KEYS


class FrameLoss(keras.Loss):
    """The negative log-likelihood of a frame in nats: the sum over all keys, each sounding or not.

    Targets (batch, time, 88); outputs as `network` gives them; the mean is that over frames of weight 1. Of a
    mixture it is the likelihood of the whole frame, so the components say which keys sound together.
    """

    def __init__(self, name="frame_loss"):
        super().__init__(name=name, reduction="mean_with_sample_weight")

    def call(self, y_true, y_pred):
        if len(y_pred.shape) == 3:
            return _of_keys(y_true, y_pred)
        log_weights = ops.log_softmax(y_pred[..., -1], axis=-1)
        return -ops.logsumexp(log_weights - _of_keys(y_true[..., None, :], y_pred[..., :-1]), axis=-1)


def _of_keys(sounds, logits):
    """−log p of keys that sound independently of each other, summed over them."""
    return ops.sum(ops.softplus(logits) - sounds * logits, axis=-1)


def network(options):
    """The model from frames (batch, time, 88) to what it foretells of the next ones.

    That is the logits of the keys (batch, time, 88). With `options.mixtures` over 1 it is those of each
    component of a mixture, and behind them the logit of its weight: (batch, time, mixtures, 89).
    """
    frames = keras.Input((None, KEYS), name="frames")
    features = keras.layers.Dropout(options.dropout)(recurrent_stack(frames, options))
    if options.mixtures == 1:
        return keras.Model(frames, keras.layers.Dense(KEYS, name="logits")(features))
    logits = keras.layers.Dense(options.mixtures * (KEYS + 1), name="logits")(features)
    return keras.Model(frames, keras.layers.Reshape((-1, options.mixtures, KEYS + 1), name="mixture")(logits))


def foretelling(model):
    """The model from frames to the probability of each key in the next frame."""
    keys = model.output
    if len(keys.shape) == 3:
        keys = ops.sigmoid(keys)
    else:
        weights = ops.expand_dims(ops.softmax(keys[..., -1], axis=-1), axis=-1)
        keys = ops.sum(weights * ops.sigmoid(keys[..., :-1]), axis=-2)
    return keras.Model(model.input, keras.layers.Identity(name="probabilities")(keys))


def independent(pieces):
    """The logits of keys that sound as often as in these pieces, whatever sounded before: (88,)."""
    frames = np.concatenate(pieces)
    share = (frames.sum(axis=0) + 1) / (len(frames) + 2)  # a key that never sounds may still sound
    return np.log(share / (1 - share)).astype("float32")
