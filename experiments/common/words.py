"""Words of a text as numbers, by a layer that becomes part of the saved model."""

import keras
import numpy as np
import tensorflow as tf

from keras_gates.layers.text import standardize_words

BATCH = 1024


def vectorizer(texts, vocabulary):
    """A `TextVectorization` that knows the `vocabulary` most frequent words of the texts."""
    layer = keras.layers.TextVectorization(max_tokens=vocabulary, standardize=standardize_words, name="words")
    layer.adapt(tf.data.Dataset.from_tensor_slices(texts).batch(BATCH))
    return layer


def numbers(layer, texts, longest):
    """The ids of every text, each an int32 array of at most `longest` ids; of any number if that is None."""
    found = []
    for start in range(0, len(texts), BATCH):
        padded = layer(tf.constant(texts[start : start + BATCH])).numpy().astype("int32")
        lengths = np.count_nonzero(padded, axis=1)  # 0 is padding, never a word
        found += [row[:length][:longest] for row, length in zip(padded, lengths, strict=True)]
    return found
