"""Texts as the numbers of their words or characters, by a layer that becomes part of the saved model."""

import keras
import numpy as np
import tensorflow as tf

from experiments.common.batches import runs_within
from experiments.common.scripts import are_by_character
from keras_gates.layers.text import standardize_characters, standardize_words_and_symbols

HOW = {
    "words": {"standardize": standardize_words_and_symbols, "split": "whitespace"},
    "characters": {"standardize": standardize_characters, "split": "character"},
}
BATCH = 1024  # texts
MOST = 2**21  # characters of a batch, padded


def kind_of(texts):
    """What the texts are best read by: "words", or "characters" where a word is no good unit."""
    return "characters" if are_by_character(texts) else "words"


def vectorizer(texts, vocabulary, kind="words", least=1):
    """A `TextVectorization` that knows the most frequent words or characters of the texts.

    vocabulary: how many it knows at most, with the numbers for padding and for what is unknown.
    kind: "words" or "characters".
    least: how often it must have seen what it knows, if anything occurs so often.
    """
    layer = _layer(kind, max_tokens=vocabulary)
    layer.adapt(tf.data.Dataset.from_tensor_slices(texts).batch(BATCH))
    known = layer.get_vocabulary(include_special_tokens=False)
    if least == 1 or layer.vocabulary_size() == vocabulary:
        return layer
    counts = np.zeros(len(known) + 2, int)
    for row in numbers(layer, texts, None):
        np.add.at(counts, row, 1)
    frequent = [token for token, count in zip(known, counts[2:], strict=True) if count >= least]
    return _layer(kind, vocabulary=frequent or known)


def _layer(kind, **options):
    return keras.layers.TextVectorization(**HOW[kind], **options, name=kind)


def numbers(layer, texts, longest):
    """The ids of every text, each an int32 array of at most `longest` ids; of any number if that is None."""
    found = []
    for run in runs_within([len(text) for text in texts], BATCH, MOST):
        padded = layer(tf.constant(texts[run])).numpy().astype("int32")
        lengths = np.count_nonzero(padded, axis=1)  # 0 is padding, never a word
        found += [row[:length][:longest].copy() for row, length in zip(padded, lengths, strict=True)]
    return found


def tokens(layer, texts):
    """What the layer takes for the words or characters of each text."""
    config = layer.get_config()
    standardized = [text.decode() for text in config["standardize"](np.array(texts, object)).numpy()]
    return [list(text) if config["split"] == "character" else text.split() for text in standardized]
