"""A text as parallel streams, for truncated backpropagation through time."""

import numpy as np
import tensorflow as tf


class Streams:
    """A text cut into rows that are read side by side, chunk after chunk, each predicting the next token.

    Row r of every batch continues row r of the batch before, so that a stateful network carries its state
    along the row. What is left over at the end of a row is not read.

    ids: the text as whole numbers, of length 2 or more.
    rows: the number of rows; at most `len(ids) - 1`.
    steps: tokens of a row in a batch; fewer if the rows are shorter.
    epochs_per_pass: the number of epochs in which `endless` goes through the text once, so that a long one is
        validated, and a checkpoint kept, before it has been read to its end.
    most: use at most the first so many batches.
    """

    def __init__(self, ids, rows, steps, epochs_per_pass=1, most=None):
        length = (len(ids) - 1) // rows
        steps = min(steps, length)
        self.shape = rows, steps
        self.inputs, self.targets = (
            np.reshape(ids[start : start + rows * length], (rows, length)) for start in (0, 1)
        )
        self.batches = min(length // steps, most or length)
        self.epochs_per_pass = min(epochs_per_pass, self.batches)

    def __len__(self):
        return self.batches // self.epochs_per_pass

    def epoch(self, number):
        """The batches of one epoch, as pairs (inputs, targets), each (rows, steps)."""
        first = number % self.epochs_per_pass * len(self)
        steps = self.shape[1]
        for start in range(first * steps, (first + len(self)) * steps, steps):
            yield self.inputs[:, start : start + steps], self.targets[:, start : start + steps]

    def endless(self, first_epoch=0):
        """Epoch after epoch as one endless `tf.data.Dataset`: give `fit` `steps_per_epoch=len(self)`."""

        def stream():
            number = first_epoch
            while True:
                yield from self.epoch(number)
                number += 1

        return self._dataset(stream, tf.data.INFINITE_CARDINALITY)

    def once(self):
        """One epoch as a `tf.data.Dataset`."""
        return self._dataset(lambda: self.epoch(0), len(self))

    def _dataset(self, stream, cardinality):
        spec = tf.TensorSpec(self.shape, tf.int32)
        dataset = tf.data.Dataset.from_generator(stream, output_signature=(spec, spec))
        return dataset.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(4)
