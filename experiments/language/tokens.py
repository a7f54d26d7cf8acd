"""Characters or words as numbers: 0 is padding, 1 any unknown token, and the known ones follow."""

import collections

import keras
import numpy as np

import keras_gates
from keras_gates.layers.text import split_words_and_marks

KINDS = ("characters", "words")
UNKNOWN = 1
# What is written is always a known token: its text can be read again.
HEAD = keras_gates.writing.Categorical(from_logits=False, suppress=(0, UNKNOWN))


def split(text, kind):
    """The tokens of a text, a sequence of strings that, joined, are the text.

    kind: "characters", or "words", where punctuation marks and white space are tokens too; see
        `split_words_and_marks`.
    """
    if kind == "characters":
        return text
    return [token.decode() for token in split_words_and_marks([text])[0].numpy()]


def vocabulary_of(tokens, least, most):
    """The `most` most frequent tokens that occur at least so often, in order; of all if none does."""
    counts = collections.Counter(tokens)
    frequent = [token for token, count in counts.items() if count >= least]
    return sorted(sorted(frequent or counts, key=lambda token: (-counts[token], token))[:most])


def numbers(tokens, vocabulary):
    """The number of every token, an int32 array; the same that `vectorizer` gives."""
    number_of = {token: number for number, token in enumerate(vocabulary, UNKNOWN + 1)}
    return np.fromiter((number_of.get(token, UNKNOWN) for token in tokens), "int32", len(tokens))


def vectorizer(vocabulary, kind):
    """The layer from texts to the numbers of their tokens, for the model that is saved."""
    return keras.layers.TextVectorization(
        standardize=None,
        split="character" if kind == "characters" else split_words_and_marks,
        vocabulary=vocabulary,
        name=kind,
    )


def names(vocabulary):
    """What each number stands for."""
    return ("", "[UNK]", *vocabulary)


def kind_of(config):
    """The kind of the tokens of a run; earlier runs have characters."""
    return config["options"].get("tokens", "characters")
