"""Pictures of digits: as they are, or put into a larger scene, alone or among pieces of other digits."""

import numpy as np
import tensorflow as tf

from experiments.common.batches import Batches

SCENES = ("plain", "translated", "cluttered")
PARTS = ("train", "validation", "test")
PIECES, PIECE = 4, 8  # how many pieces of other digits a cluttered scene has, and the pixels of their edge


class Scenes:
    """Digits in scenes, which are drawn when they are asked for.

    digits: a `mnist.Part`.
    kind: "plain", the picture itself; "translated", the digit anywhere in a black picture; "cluttered", the
        same among pieces of other digits (Mnih et al. 2014).
    edge: pixels of the edge of a scene that is not plain.
    part: "train", "validation" or "test": a scene depends on it and on its index alone. An index beyond the
        last digit is another scene of the digit with that remainder.
    """

    def __init__(self, digits, kind, edge, part):
        self.digits, self.kind, self.edge = digits, kind, edge
        self.seed = PARTS.index(part)

    def __len__(self):
        return len(self.digits.labels)

    @property
    def shape(self):
        """(height, width) of a scene."""
        return self.digits.pictures.shape[1:] if self.kind == "plain" else (self.edge, self.edge)

    def batch(self, indices):
        """The scenes with these indices, and their labels."""
        own = np.asarray(indices) % len(self)
        if self.kind == "plain":
            return self.digits.pictures[own], self.digits.labels[own]
        return np.stack([self._scene(index) for index in indices]), self.digits.labels[own]

    def _scene(self, index):
        rng = np.random.default_rng([self.seed, index])
        scene = np.zeros(self.shape, "uint8")
        if self.kind == "cluttered":
            for other in self.digits.pictures[rng.integers(len(self), size=PIECES)]:
                y, x = (rng.integers(edge - PIECE + 1) for edge in other.shape)
                _add(scene, other[y : y + PIECE, x : x + PIECE], rng)
        _add(scene, self.digits.pictures[index % len(self)], rng)
        return scene


def _add(scene, picture, rng):
    """Put a picture anywhere into a scene; the brighter of two pixels stays."""
    y, x = (rng.integers(whole - part + 1) for whole, part in zip(scene.shape, picture.shape, strict=True))
    place = scene[y : y + picture.shape[0], x : x + picture.shape[1]]
    np.maximum(place, picture, out=place)


class SceneBatches(Batches):
    """Batches of scenes; those of each epoch are drawn anew."""

    def __init__(self, scenes, batch_size, seed=0):
        signature = (
            tf.TensorSpec((None, *scenes.shape), tf.uint8),
            tf.TensorSpec((None,), tf.int32),
        )
        super().__init__(np.ones(len(scenes), int), scenes.batch, signature, batch_size, seed)

    def epoch(self, number):
        # the scenes of `once`, those of validation and test, are the first of each digit
        return [indices + (number + 1) * len(self.lengths) for indices in super().epoch(number)]
