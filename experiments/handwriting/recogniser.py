"""A small network that reads handwriting, to tell how readable another one writes.

It is trained on the drawings on which the other one was trained, and reads texts that neither has seen: as
they are drawn in the test part, and as the other network writes them.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_gates
from experiments.common.batches import Batches, pad
from experiments.common.written import edit_distance
from experiments.handwriting.data.strokes import standardised
from experiments.handwriting.problem import numbers_of

UNITS, FILTERS, RATE, BATCH = 96, 64, 4e-3, 64
BLANK = 0
CERTAIN = 30.0  # the logit of what is certain
SIGNATURE = (tf.TensorSpec((None, None, 3), tf.float32), tf.TensorSpec((None, None), tf.int32))


class Recogniser:
    """A network from strokes to texts, trained by connectionist temporal classification (Graves et al. 2006).

    names: of the characters by number.
    unit: the standard deviation of the offsets.
    """

    def __init__(self, names, unit):
        self.names, self.unit = names, unit
        self.model = network(len(names))

    def train(self, writings, epochs, seed):
        moves = self._moves([writing.strokes for writing in writings])
        texts = numbers_of([writing.text for writing in writings], self.names)

        def collate(indices):
            return pad([moves[at] for at in indices], dtype="float32"), pad([texts[at] for at in indices])

        batches = Batches([len(row) for row in moves], collate, SIGNATURE, BATCH, seed)
        rate = keras.optimizers.schedules.CosineDecay(RATE, epochs * len(batches))
        optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
        self.model.compile(optimizer, keras.losses.CTC(), jit_compile=False)
        self.model.fit(
            batches.endless(), steps_per_epoch=len(batches), epochs=epochs, shuffle=False, verbose=2
        )

    def read(self, strokes):
        """The text of each of some strokes, in the units of the data."""
        logits = self.model.predict(pad(self._moves(strokes), dtype="float32"), BATCH, verbose=0)
        return [self._text(row.argmax(axis=-1)) for row in logits]

    def errors(self, strokes, texts):
        """The share of the characters of texts that are read wrongly from strokes."""
        read = self.read(strokes)
        wrong = sum(edit_distance(*pair) for pair in zip(read, texts, strict=True))
        return wrong / sum(map(len, texts))

    def _moves(self, strokes):
        return [standardised(row, self.unit)[1:] for row in strokes]

    def _text(self, classes):
        """The classes without repetitions and blanks."""
        is_new = np.diff(classes, prepend=BLANK) != 0
        return "".join(self.names[number] for number in classes[is_new & (classes != BLANK)])


def network(size):
    """From standardised moves (batch, time, 3) to logits (batch, time / 2, size), class 0 being the blank.

    Moves of three zeros are padding: there the blank is certain.
    """
    moves = keras.Input((None, 3), name="moves")
    x = keras.layers.Conv1D(FILTERS, 5, strides=2, padding="same", activation="relu", name="pairs")(moves)
    is_drawn = ops.any(ops.not_equal(moves, 0), axis=-1)[:, ::2]
    layer = keras_gates.LSTM(UNITS, return_sequences=True)
    x = keras.layers.Bidirectional(layer, name="both_ways")(x, mask=is_drawn)
    logits = keras.layers.Dense(size, name="logits")(x)
    blank = ops.one_hot(ops.zeros_like(is_drawn, "int32"), size) * CERTAIN
    return keras.Model(moves, ops.where(is_drawn[..., None], logits, blank), name="recogniser")
