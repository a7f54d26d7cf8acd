"""Texts as numbers: words or characters; 0 is padding, 1 any unknown one."""

import collections
import functools

import keras
import tensorflow as tf

from experiments.common import words
from keras_gates.layers.text import lower, lower_separate_punctuation, separate_punctuation

KINDS = ("words", "characters")
SOURCE_LAYER = "source_pieces"  # the name of the layer in a model of texts
UNKNOWN, START, STOP = "[UNK]", "[START]", "[STOP]"


class Side:
    """How the texts of one language are taken apart and put together.

    kind: "words" or "characters".
    lowered: whether upper and lower case are one.
    vocabulary: the words or characters with a number of their own.

    layer: the `TextVectorization` that does it, for the saved model.
    """

    def __init__(self, kind, lowered, vocabulary, name=None):
        self.kind = kind
        self.layer = keras.layers.TextVectorization(
            standardize=_standardization(kind, lowered),
            split="whitespace" if kind == "words" else "character",
            vocabulary=vocabulary,
            name=name,
        )

    @classmethod
    def of_texts(cls, texts, kind, lowered, least, reserved=(), name=None):
        """The side that knows what occurs at least so often in the texts; all of it where nothing does."""
        standardize = _standardization(kind, lowered)
        counts = collections.Counter(
            piece for text in _standardized(texts, standardize) for piece in _taken_apart(text, kind)
        )
        frequent = sorted(piece for piece, count in counts.items() if count >= least) or sorted(counts)
        return cls(kind, lowered, [*reserved, *(piece for piece in frequent if piece not in reserved)], name)

    @functools.cached_property
    def names(self):
        """What each number stands for."""
        return list(map(str, self.layer.get_vocabulary()))

    def numbers(self, texts):
        """The numbers of every text, a list of int32 arrays."""
        return words.numbers(self.layer, texts, None)

    def pieces(self, texts):
        """The words or characters of every text as they stand there, a list of lists."""
        return [
            _taken_apart(text, self.kind) for text in _standardized(texts, _standardization(self.kind, False))
        ]

    def join(self, pieces):
        """The text of words or characters."""
        return (" " if self.kind == "words" else "").join(pieces)


def _standardization(kind, lowered):
    if kind == "words":
        return lower_separate_punctuation if lowered else separate_punctuation
    return lower if lowered else None


def _standardized(texts, standardize):
    if standardize is None:
        return list(texts)
    return [text.decode() for text in standardize(tf.constant(list(texts))).numpy()]


def _taken_apart(text, kind):
    return text.split(" ") if kind == "words" and text else list(text)
