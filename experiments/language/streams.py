"""A text as parallel streams, for truncated backpropagation through time."""

import numpy as np
import tensorflow as tf

from experiments.common.batches import Epochs


class Streams(Epochs):
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
        self.signature = (tf.TensorSpec(self.shape, tf.int32),) * 2
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
