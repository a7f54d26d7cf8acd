"""The task made ready for training: strokes as batches, the network, and its measures."""

import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common import training
from experiments.common.batches import Batches, pad
from experiments.handwriting import data, shown
from experiments.handwriting.data.strokes import standardised
from experiments.handwriting.measures import WALKED, independent, measure
from experiments.handwriting.network import UNKNOWN, Network, names_of
from experiments.handwriting.scribe import START, Scribe

EVALUATION_BATCH = 100
SHOWN = 6  # texts or drawings in the run folder
TRACED = 2  # test texts that --trace shows
MOVES = ("right", "down", "pen lifted")


def prepare(options):
    """The drawings that `options` name as batches, and the network that draws."""
    corpus = data.read(options)
    hears_text = corpus.has_texts and not options.unconditional
    names = names_of(corpus.characters) if hears_text else ()
    unit, points = corpus.unit, points_of(corpus.train, hears_text)
    network = Network(names, unit, points, options)
    serving = network.serving()
    scribe = Scribe(serving, hears_text, unit, points, options.mixtures, options.bias)
    test = StrokeBatches(corpus.test, names, unit, EVALUATION_BATCH)
    texts = [writing.text for writing in corpus.test] if hears_text else []
    baseline = independent(corpus.train, unit)
    return training.Problem(
        train=StrokeBatches(corpus.train, names, unit, options.batch_size, options.seed),
        validation=StrokeBatches(corpus.validation, names, unit, EVALUATION_BATCH),
        model=network.training(),
        serving=lambda model: serving,
        test=lambda model: (measure(model, scribe, test, texts[:WALKED], baseline), None),
        labels=names or MOVES,
        facts={
            "data": corpus.fingerprint(),
            "split": corpus.split,
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            "hears_text": hears_text,
            "unit": unit,
            "points": points,
        },
        texts=tuple(texts[:TRACED]) or ("0",),
        loss=network.mixture.loss(reduction="mean_with_sample_weight"),
        metrics=(),
        main_measure=training.MainMeasure("test_nats_per_point", "lower"),
        files=lambda model: files(scribe, texts[:SHOWN] or [""] * SHOWN),
        use='write RUN "hello world"' if hears_text else "write RUN",
        notes=(f"Split: {corpus.split}.", "It draws in the units of its data; down is positive."),
        write={
            "over": "strokes",
            "start": list(START),
            "how": keras_gates.Sampling(),
            "head": scribe.pen(),
        },
    )


def points_of(writings, hears_text):
    """How many points a character of the texts takes; or, without texts, a drawing."""
    characters = [len(writing.text) if hears_text else 1 for writing in writings]
    return sum(len(writing.strokes) for writing in writings) / sum(characters)


def files(scribe, texts):
    """Test texts that the network writes, or drawings, and its window's walk over the first text."""
    written = scribe.write(texts)
    made = {"written.png": lambda path: shown.save_sheet(written, path)}
    if scribe.hears_text:
        made["walk.png"] = lambda path: shown.save_walk(written[0], path)
    return made


def numbers_of(texts, names):
    """The numbers of the characters of each text, int32 arrays."""
    number_of = {name: number for number, name in enumerate(names)}
    return [np.array([number_of.get(character, UNKNOWN) for character in text], "int32") for text in texts]


class StrokeBatches(Batches):
    """Drawings as batches (inputs, next movements, weights), of standardised strokes.

    writings: `Writing`s.
    names: of the characters by number; () for a network that hears no text.
    unit: the standard deviation of the offsets.
    """

    def __init__(self, writings, names, unit, batch_size, seed=0):
        self.strokes = [standardised(writing.strokes, unit) for writing in writings]
        strokes = tf.TensorSpec((None, None, 3), tf.float32)
        inputs = {"strokes": strokes}
        self.texts = None
        if names:
            self.texts = numbers_of([writing.text for writing in writings], names)
            inputs["text"] = tf.TensorSpec((None, None), tf.int32)
        weights = tf.TensorSpec((None, None), tf.float32)
        lengths = [len(strokes) for strokes in self.strokes]
        super().__init__(lengths, self._collated, (inputs, strokes, weights), batch_size, seed)

    def _collated(self, indices):
        strokes = [self.strokes[at] for at in indices]
        given = {"strokes": pad([row[:-1] for row in strokes], dtype="float32")}
        if self.texts is not None:
            given["text"] = pad([self.texts[at] for at in indices])
        wanted = pad([row[1:] for row in strokes], dtype="float32")
        steps = np.array([len(row) - 1 for row in strokes])
        weights = (np.arange(wanted.shape[1]) < steps[:, None]).astype("float32")
        return given, wanted, weights
