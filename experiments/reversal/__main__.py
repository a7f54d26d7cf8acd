"""Reverse a sequence by looking at it: where a decoder looks in each step can be seen, and should be a line.

`python -m experiments.reversal [--score general] [--hard] [--steps 300] [--picture reversal.png]`

Sequences of 4 to 8 symbols come in; the decoder says them backwards. Its memory is one vector for each
position, the sum of an embedding of the symbol and one of the position, and no recurrence runs
over it: it can learn a symbol in its place only by looking there.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

import keras_gates
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, whole
from keras_gates.attention import ATTENTIONS

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


def draw_picture(reverser, path):
    """Draw where the decoder looks for one sequence of each length; written beside, then renamed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    batch = draw(64, seed=5)
    lengths = range(LENGTHS[0], LENGTHS[1] + 1)
    alignments = reverser.alignments(batch)
    for axes, length in zip(figure.subplots(1, len(lengths)), lengths, strict=True):
        one = int(np.argmax(batch.lengths == length))
        axes.imshow(alignments[one, :length, :length], cmap="Greys", vmin=0, vmax=1)
        axes.set_xticks(range(length), batch.sequences[one, :length])
        axes.set_yticks(range(length), batch.reversed[one, :length])
        axes.set_xlabel("symbol looked at")
    figure.axes[0].set_ylabel("symbol to say")
    partial = path.with_name(f"partial-{path.name}")
    figure.savefig(partial, dpi=80)
    partial.rename(path)


def parser():
    parser = Parser(
        prog="python -m experiments.reversal",
        description="Train a decoder with attention to reverse sequences, and draw where it looks.",
    )
    parser.add_argument("--score", choices=tuple(ATTENTIONS), default="general")
    parser.add_argument("--hard", action="store_true", help="take one position instead of the sum")
    parser.add_argument("--steps", type=whole(1), default=300, help="training steps of 128 sequences each")
    parser.add_argument("--seed", type=whole(0), default=1, help="same seed, same result")
    parser.add_argument("--picture", type=Path, help="where to draw the alignments, as .png or .svg")
    return parser


def show(_, options):
    if options.picture and not options.picture.absolute().parent.is_dir():
        raise InputError(f"--picture: there is no folder {options.picture.absolute().parent}.")
    reverser = train(options.score, options.hard, options.steps, seed=options.seed)
    if options.picture:
        draw_picture(reverser, options.picture)
    batch = draw(1000, seed=0)
    print(json.dumps({"accuracy": reverser.accuracy(batch), "mirrored": reverser.mirrored(batch)}))


def main(arguments=None):
    return command_line({"show": (parser(), show)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
