"""Batches of sequences of nearly equal length, in an order that depends only on seed and epoch."""

import itertools

import numpy as np
import tensorflow as tf

MOST_STEPS = 2**16  # of a padded batch when every example is read once
POOL = 50  # batches that are sorted by length together: enough to pad little, few enough to mix well


def pad(sequences, value=0, dtype="int32"):
    """Sequences in one array, padded to the longest and to at least one step: (sequences, longest, …)."""
    longest = max(1, *map(len, sequences))
    padded = np.full((len(sequences), longest, *np.shape(sequences[0])[1:]), value, dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


def runs_within(lengths, longest_run, most):
    """Cut sequences, in their order, into runs: yield slices.

    A run has at most `longest_run` sequences, and, unless it is a single one, at most `most` steps when it
    is padded: so the memory it takes is bounded, whatever the lengths.
    """
    start, width = 0, 0
    for at, length in enumerate(lengths):
        width = max(width, length)
        if at > start and (at - start == longest_run or (at - start + 1) * width > most):
            yield slice(start, at)
            start, width = at, length
    if len(lengths):
        yield slice(start, len(lengths))


class Epochs:
    """Batches epoch by epoch, as `tf.data.Dataset`s.

    A subclass has `epoch(number)`, the batches of one epoch, which does not depend on earlier ones, so that
    training can start with any; `__len__`, how many these are; and `signature`, `tf.TensorSpec`s of a batch.
    """

    def _of_epoch(self, number):
        """The batches of one epoch, as `fit` takes them."""
        return self.epoch(number)

    def endless(self, first_epoch=0):
        """Epoch after epoch as one endless `tf.data.Dataset`: give `fit` `steps_per_epoch=len(self)`."""

        def stream():
            for number in itertools.count(first_epoch):
                yield from self._of_epoch(number)

        return self._dataset(stream, tf.data.INFINITE_CARDINALITY)

    def once(self):
        """The first epoch as a `tf.data.Dataset`, always the same."""
        return self._dataset(lambda: self._of_epoch(0), len(self))

    def _dataset(self, stream, cardinality):
        dataset = tf.data.Dataset.from_generator(stream, output_signature=self.signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(4)


class Batches(Epochs):
    """Examples as batches, bucketed by length.

    lengths: one whole number per example.
    collate: a function from the indices of the examples of a batch to what `fit` takes, padded, such as
        (inputs, targets).
    signature: `tf.TensorSpec`s of what `collate` returns.
    """

    def __init__(self, lengths, collate, signature, batch_size, seed=0):
        self.lengths = np.asarray(lengths)
        self.collate, self.signature = collate, signature
        self.batch_size, self.seed = batch_size, seed

    def __len__(self):
        return -(-len(self.lengths) // self.batch_size)

    @property
    def order(self):
        """The order in which `once` gives the examples."""
        return np.argsort(self.lengths, kind="stable")

    def epoch(self, number):
        """The batches of one epoch, as arrays of indices."""
        rng = np.random.default_rng([self.seed, number])
        shuffled = rng.permutation(len(self.lengths))
        batches = []
        for pool in self._cut(shuffled, POOL * self.batch_size):
            batches += self._cut(pool[np.argsort(self.lengths[pool], kind="stable")], self.batch_size)
        return [batches[at] for at in rng.permutation(len(batches))]

    def _of_epoch(self, number):
        return map(self.collate, self.epoch(number))

    def once(self):
        """Every example once, from the shortest to the longest, as a `tf.data.Dataset`.

        A batch of long examples holds fewer of them, so that it takes no more than `MOST_STEPS` steps.
        """
        order = self.order
        runs = [order[run] for run in runs_within(self.lengths[order], self.batch_size, MOST_STEPS)]
        return self._dataset(lambda: map(self.collate, runs), len(runs))

    @staticmethod
    def _cut(indices, size):
        return [indices[start : start + size] for start in range(0, len(indices), size)]
