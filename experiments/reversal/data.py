"""Sequences of 4 to 8 symbols, and the same backwards."""

from dataclasses import dataclass

import numpy as np

SYMBOLS, LENGTHS, PADDING = 8, (4, 8), 0
START = SYMBOLS + 1  # what the decoder hears before its first symbol
LONGEST = LENGTHS[1]


@dataclass(frozen=True)
class Batch:
    """Sequences, zero at padding, and the same backwards; both (batch, 8)."""

    sequences: np.ndarray
    reversed: np.ndarray

    @property
    def lengths(self):
        return (self.sequences != PADDING).sum(axis=1)

    @property
    def heard(self):
        """What the decoder hears: the right symbol of the step before."""
        start = np.full((len(self.reversed), 1), START)
        return np.concatenate([start, self.reversed[:, :-1]], axis=1)

    @property
    def weights(self):
        return (self.reversed != PADDING).astype("float32")


def draw(count, seed):
    """Draw sequences, each with its length, at random."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(LENGTHS[0], LENGTHS[1] + 1, (count, 1))
    symbols = rng.integers(1, SYMBOLS + 1, (count, LONGEST))
    place = np.arange(LONGEST)
    there = place < lengths
    mirrored = np.take_along_axis(symbols, np.where(there, lengths - 1 - place, 0), axis=1)
    return Batch(np.where(there, symbols, PADDING), np.where(there, mirrored, PADDING))
