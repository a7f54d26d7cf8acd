"""Splits by a hash of the content: they never change, and duplicates stay on one side."""

import hashlib

TEST, VALIDATION = 0.2, 0.1


def position(text):
    """Where the text falls in [0, 1): uniform over texts, the same in every run and on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split(keys):
    """Indices of "train" (70 %), "validation" (10 %) and "test" (20 %), each in the order of `position`."""
    placed = sorted((position(key), index) for index, key in enumerate(keys))
    return {
        "train": [index for at, index in placed if at >= TEST + VALIDATION],
        "validation": [index for at, index in placed if TEST <= at < TEST + VALIDATION],
        "test": [index for at, index in placed if at < TEST],
    }


def split_off(keys, absent):
    """What a training part that has to serve for other parts too keeps, and what these get, as indices.

    absent: the names of these parts, of "validation" and "test".
    """
    pieces = split(keys)
    kept = [index for name, indices in pieces.items() if name not in absent for index in indices]
    return kept, {name: pieces[name] for name in absent}
