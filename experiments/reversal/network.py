"""A decoder with attention that says a sequence backwards, and its training."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

import keras_gates
from experiments.reversal.data import LONGEST, PADDING, START, SYMBOLS, draw
from keras_gates.attention import ATTENTIONS


@dataclass(frozen=True)
class Reverser:
    """The model from (sequences, heard) to logits, and where its decoder looks."""

    model: keras.Model

    def accuracy(self, batch):
        """The fraction of symbols said right, each after the right one before it."""
        said = self.model.predict([batch.sequences, batch.heard], batch_size=512, verbose=0).argmax(-1)
        return float((said == batch.reversed)[batch.weights > 0].mean())

    def alignments(self, batch):
        """Where the decoder looks: (batch, step, position)."""
        return keras_gates.trace(self.model, [batch.sequences, batch.heard])["decoder"]["alignment"]

    def mirrored(self, batch):
        """The fraction of steps in which the decoder looks most at the mirrored position."""
        place = batch.lengths[:, None] - 1 - np.arange(LONGEST)
        return float((self.alignments(batch).argmax(-1) == place)[batch.weights > 0].mean())


def build(score, hard, units=32):
    """A decoder of one GRU cell with attention over the embedded sequence."""
    sequences = keras.Input((LONGEST,), dtype="int32", name="sequences")
    heard = keras.Input((LONGEST,), dtype="int32", name="heard")
    there = ops.not_equal(sequences, PADDING)
    places = ops.cumsum(ops.ones_like(sequences), axis=1) - 1
    memory = keras.layers.Embedding(SYMBOLS + 1, units)(sequences) + keras.layers.Embedding(LONGEST, units)(
        places
    )
    mean = keras.layers.GlobalAveragePooling1D()(memory, mask=there)
    state = keras.layers.Dense(units, activation="tanh")(mean)
    kind = keras_gates.BahdanauCell if score == "additive" else keras_gates.LuongCell
    cell = kind(keras_gates.GRUCell(units), ATTENTIONS[score](hard=hard))
    states = [state, *(ops.zeros_like(state) for _ in cell.states[1:])]
    inputs = keras.layers.Embedding(START + 1, units)(heard)
    decoder = keras_gates.AttentionRNN(cell, return_sequences=True, name="decoder")
    outputs = decoder(inputs, memory=memory, initial_state=states, memory_mask=there)
    logits = keras.layers.Dense(SYMBOLS + 1)(outputs)
    return Reverser(keras.Model([sequences, heard], logits))


def train(score="general", hard=False, steps=300, batch_size=128, seed=1):
    """A trained `Reverser`; every sequence it is trained on is new."""
    keras.utils.set_random_seed(seed)
    reverser = build(score, hard)
    rate = keras.optimizers.schedules.CosineDecay(0.02, steps)
    reverser.model.compile(
        keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    batch = draw(batch_size * steps, seed)
    reverser.model.fit(
        [batch.sequences, batch.heard],
        batch.reversed,
        sample_weight=batch.weights,
        batch_size=batch_size,
        verbose=0,
    )
    return reverser
