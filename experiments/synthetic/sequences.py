"""Sequences, and the stream of batches in which they are drawn: never the same twice, never stored."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from experiments.common.batches import Epochs

TRAIN, VALIDATION, TEST, BASELINE = range(4)  # parts; each has its own random numbers


class Sequences(NamedTuple):
    """Some sequences of a task.

    inputs: float32 (sequences, time, features).
    targets: float32 (sequences, time, outputs).
    weights: float32 (sequences, time), 1 where an answer counts; 0 elsewhere, as in padding.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


class Drawn(Epochs):
    """Batches of drawn sequences; each follows from the seed, the part, the epoch and its number alone.

    draw: a function from (random generator, number of sequences) to `Sequences`.
    part: `TRAIN` or `VALIDATION`.
    """

    def __init__(self, draw, part, batch_size, batches, seed):
        self.draw, self.part, self.batch_size, self.batches, self.seed = draw, part, batch_size, batches, seed

    def __len__(self):
        return self.batches

    @property
    def sequences(self):
        """How many sequences an epoch has."""
        return self.batches * self.batch_size

    def epoch(self, number):
        """The batches of one epoch."""
        for batch in range(self.batches):
            rng = np.random.default_rng([self.part, self.seed, number, batch])
            yield self.draw(rng, self.batch_size)

    def _of_epoch(self, number):
        return map(tuple, self.epoch(number))

    @property
    def signature(self):
        inputs, targets, _ = next(self.epoch(0))
        shapes = (None, None, inputs.shape[-1]), (None, None, targets.shape[-1]), (None, None)
        return tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)
