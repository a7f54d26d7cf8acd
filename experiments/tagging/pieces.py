"""Texts in windows for training and in pieces for tagging, as batches."""

import numpy as np
import tensorflow as tf

from experiments.common.batches import Batches, pad
from experiments.tagging.data.tagged import Tagged
from experiments.tagging.network import PADDING

EVALUATION_BATCH = 64
NO_TAG = -1  # of padding, and of what is read only for context
PIECE, CONTEXT = 2048, 256  # characters of a source text that are tagged at a time, and read beside them


def windows(sequences, length):
    """Texts cut into windows of `length` characters; the last window of a text may be shorter."""
    return [
        Tagged(text[start : start + length], tags[start : start + length])
        for text, tags in sequences
        for start in range(0, len(text), length)
    ]


def pieces(sequence):
    """A text in overlapping pieces: `PIECE` characters that are tagged, and `CONTEXT` more on either side.

    The context has the tag `NO_TAG`.
    """
    text, tags = sequence
    found = []
    for start in range(0, len(text), PIECE):
        first, last = max(start - CONTEXT, 0), start + PIECE + CONTEXT
        counted = np.array(tags[first:last], "int32")
        counted[: start - first] = NO_TAG
        counted[start - first + PIECE :] = NO_TAG
        found.append(Tagged(text[first:last], counted))
    return found


class TagBatches(Batches):
    """Tagged sequences as batches: texts (batch,) or words (batch, time), and tags (batch, time).

    Padding has the tag 0; the mask of the network excludes it from the loss.

    epochs_per_pass: the number of epochs in which `endless` goes through all sequences once, so that a large
        corpus is validated, and a checkpoint kept, before it has been read to its end.
    auxiliary: other tags of the same sequences, one array for each, that `with_auxiliary` takes beside the
        strings; None without them.
    """

    def __init__(self, sequences, batch_size, seed=0, epochs_per_pass=1, auxiliary=None):
        is_text = isinstance(sequences[0].elements, str)

        def collate(indices):
            elements = [sequences[at].elements for at in indices]
            strings = np.array(elements, object) if is_text else pad(elements, PADDING, object)
            tags = pad([sequences[at].tags for at in indices])
            if auxiliary is None:
                return strings, tags
            return (strings, pad([auxiliary[at] for at in indices])), tags

        strings = tf.TensorSpec((None,) if is_text else (None, None), tf.string)
        tags = tf.TensorSpec((None, None), tf.int32)
        signature = (strings if auxiliary is None else (strings, tags), tags)
        super().__init__([len(tags) for _, tags in sequences], collate, signature, batch_size, seed)
        self.epochs_per_pass = min(epochs_per_pass, super().__len__())

    def __len__(self):
        return super().__len__() // self.epochs_per_pass

    def epoch(self, number):
        number, part = divmod(number, self.epochs_per_pass)
        return super().epoch(number)[part * len(self) : (part + 1) * len(self)]
