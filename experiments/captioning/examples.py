"""Pictures with captions as batches for training."""

import numpy as np
import tensorflow as tf

from experiments.captioning.words import START
from experiments.common.batches import Batches, pad
from keras_gates.writing import teacher_forcing

# The shorter captions, so many of them, are batched as if all were of one length. In batches of exactly one
# length, pictures would be of a kind, and batch normalisation would see other statistics than it uses later.
MIXED = 0.8


def batches(part, vocabulary, options, jitter=0.0):
    """Every caption of a part with its picture, as `Batches` of ((picture, heard), said, weights).

    The network hears the words up to each place and is to say the next one.
    jitter: see `jittered`; the same batch of the same epoch is always shifted in the same way.
    """
    indices, captions = part.examples()
    indices, said = np.array(indices), vocabulary.numbers(captions)
    colour = (*part.pictures.shape[1:3], 3)

    def collate(batch):
        pictures = part.pictures[indices[batch]]
        if jitter:
            pictures = jittered(pictures, jitter, np.random.default_rng([options.seed, *batch]))
        heard, words, weights = teacher_forcing(pad([said[index] for index in batch]), start=START)
        return {"picture": np.broadcast_to(pictures, (len(batch), *colour)), "heard": heard}, words, weights

    signature = (
        {
            "picture": tf.TensorSpec((None, *colour), tf.uint8),
            "heard": tf.TensorSpec((None, None), tf.int32),
        },
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((None, None), tf.float32),
    )
    lengths = list(map(len, said))
    lengths = np.maximum(lengths, np.quantile(lengths, MIXED))
    return Batches(lengths, collate, signature, options.batch_size, options.seed)


def jittered(pictures, most, rng):
    """Pictures (batch, height, width, channels), each shifted and zoomed in height and width at random.

    most: the largest share of the height and width. What comes in from outside is like the picture's border.
    """
    count, height, width, channels = pictures.shape
    rows, columns = (_resampling(size, count, most, rng) for size in (height, width))
    moved = rows @ pictures.reshape(count, height, width * channels).astype("float32")
    moved = moved.reshape(count, height, width, channels).swapaxes(1, 2)
    moved = columns @ moved.reshape(count, width, height * channels)
    return moved.reshape(count, width, height, channels).swapaxes(1, 2).round().astype("uint8")


def _resampling(size, count, most, rng):
    """Matrices (count, size, size) from pixels in a line to those of the line shifted and zoomed."""
    shift, zoom = rng.uniform(-most, most, (2, count, 1))
    place = np.arange(size) - (size - 1) / 2
    source = np.clip(place * (1 + zoom) + (size - 1) / 2 + shift * size, 0, size - 1)
    # linear interpolation: each pixel weighs what its distance from the source, if below 1, leaves of 1
    return np.maximum(1 - np.abs(source[..., None] - np.arange(size)), 0).astype("float32")
