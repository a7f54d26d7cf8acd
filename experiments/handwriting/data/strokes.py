"""Drawings of a pen: lines of absolute points, and the strokes that a network hears and draws.

Strokes are an array (points, 3), the form of sketch-rnn: how far the pen moved from the point before, right
and down, and 1 if it is lifted after the point, else 0. Where the first point lies on the paper does not
matter: it is the origin, so the first row is (0, 0, pen).
"""

import dataclasses
import hashlib
from typing import NamedTuple

import numpy as np

PARTS = ("train", "validation", "test")


class Writing(NamedTuple):
    """What a pen drew.

    text: what it says; "" if that is unknown.
    strokes: float32 (points, 3), at least two points.
    """

    text: str
    strokes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Drawings in three parts, each a list of `Writing`.

    split: in words, how they were split.
    """

    train: list
    validation: list
    test: list
    split: str

    def parts(self):
        return {name: getattr(self, name) for name in PARTS}

    @property
    def has_texts(self):
        """Whether it is known what each drawing says."""
        return all(writing.text for part in self.parts().values() for writing in part)

    @property
    def unit(self):
        """The standard deviation of the offsets of the training part, of both directions together."""
        return float(np.concatenate([writing.strokes[1:, :2] for writing in self.train]).std())

    @property
    def characters(self):
        """Those of the texts of the training part, in order."""
        return sorted({character for writing in self.train for character in writing.text})

    def first(self, limit):
        """At most so many drawings of each part, the first ones."""
        parts = {name: part[:limit] for name, part in self.parts().items()}
        return dataclasses.replace(self, **parts)

    def fingerprint(self):
        """A hash of the parts: tells whether two runs saw the same data."""
        digest = hashlib.sha256()
        for name, part in self.parts().items():
            digest.update(f"{name} {len(part)}".encode())
            for text, strokes in part:
                digest.update(text.encode() + strokes.tobytes())
        return digest.hexdigest()


def strokes_of(lines):
    """The strokes that draw lines, each an array (points, 2) of absolute points."""
    points = np.concatenate(lines)
    lifted = np.zeros(len(points))
    lifted[np.cumsum([len(line) for line in lines]) - 1] = 1
    return strokes_through(points, lifted)


def strokes_through(points, lifted):
    """The strokes through absolute points (points, 2); `lifted` says whether the pen is lifted after each."""
    offsets = np.diff(points, axis=0, prepend=points[:1])
    return np.column_stack([offsets, lifted]).astype("float32")


def lines_of(strokes):
    """The lines that strokes draw, each an array (points, 2) of absolute points; the first is the origin."""
    points = np.cumsum(np.asarray(strokes, "float64")[:, :2], axis=0)
    ends = np.flatnonzero(np.asarray(strokes)[:, 2] > 0.5) + 1
    return [line for line in np.split(points - points[:1], ends) if len(line)]


def standardised(strokes, unit):
    """Strokes with offsets in units of `unit`."""
    return (strokes / np.array([unit, unit, 1])).astype("float32")
