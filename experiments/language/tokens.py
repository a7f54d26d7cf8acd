"""Characters as numbers: 0 is padding, 1 any unknown character, and the known ones follow."""

import keras
import numpy as np

UNKNOWN = 1
SHOWN_UNKNOWN = "\ufffd"  # the replacement character


def alphabet_of(text, least):
    """The characters that occur at least so often, in order; all of them where none does."""
    codes, counts = np.unique(_codes(text), return_counts=True)
    frequent = codes[counts >= least]
    return [chr(code) for code in (frequent if len(frequent) else codes)]


def numbers(text, alphabet):
    """The number of every character, an int32 array; the same that `vectorizer` gives."""
    of_code = np.full(0x110000, UNKNOWN, "int32")
    of_code[list(map(ord, alphabet))] = np.arange(len(alphabet)) + UNKNOWN + 1
    return of_code[_codes(text)]


def vectorizer(alphabet):
    """The layer from texts to the numbers of their characters, for the model that is saved."""
    return keras.layers.TextVectorization(
        standardize=None, split="character", vocabulary=alphabet, name="characters"
    )


def names(alphabet):
    """What each number stands for."""
    return ("", "[UNK]", *alphabet)


def _codes(text):
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
