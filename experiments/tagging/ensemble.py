"""Runs that answer together, by the mean of their probabilities, and how well they tag."""

import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common.errors import InputError
from experiments.common.run_folder import read_config
from experiments.common.together import corpus_of, load_together, positions
from experiments.tagging import TASK, data
from experiments.tagging.data import conll
from experiments.tagging.data.tagged import Tagged
from experiments.tagging.measures import are_spans, measure
from experiments.tagging.network import PADDING
from experiments.tagging.pieces import pieces
from experiments.tagging.reading import reads_characters
from keras_gates.layers.crf import IMPOSSIBLE

TINY = 1e-30  # whose logarithm is finite, and above `IMPOSSIBLE`, which marks a masked step


def ensemble(paths):
    """The configs of the runs, and a function like the model of one of them that answers for all.

    Raises `InputError` where the runs read or say different things.
    """
    reads = [reads_characters(read_config(path, TASK)) for path in paths]
    for path, characters in zip(paths, reads, strict=True):
        if characters != reads[0]:
            raise InputError(f"Runs that answer together must read the same: {path} differs from {paths[0]}.")
    configs, models = load_together(TASK, paths, "probabilities")
    return configs, models[0] if len(models) == 1 else Ensemble(models, configs[0]["labels"])


class Ensemble:
    """Several models as one: `{"tags": names, "probabilities": their mean}` for a batch of strings.

    The tags are the most probable ones; where all mark spans, the most probable that are well-formed, by
    the product of the probabilities of each.
    """

    def __init__(self, models, labels):
        self.models, self.labels = models, np.array([label.encode() for label in labels], object)
        self.decoder = keras_gates.CRFDecoder(labels) if are_spans(labels) else None

    def __call__(self, strings):
        answers = [model(strings) for model in self.models]
        mean = np.mean([answer["probabilities"].numpy() for answer in answers], axis=0)
        is_padding = answers[0]["tags"].numpy() == PADDING.encode()
        best = mean.argmax(-1) if self.decoder is None else self._well_formed(mean, is_padding)
        return {
            "tags": tf.constant(np.where(is_padding, PADDING.encode(), self.labels[best])),
            "probabilities": tf.constant(mean),
        }

    def _well_formed(self, probabilities, is_padding):
        """The best tags by position, from a chain in which a step does not depend on the one before."""
        step = np.log(np.maximum(probabilities, TINY))[:, :, None]
        unchanged = np.where(np.eye(len(self.labels), dtype=bool), 0, IMPOSSIBLE)
        chain = np.where(is_padding[..., None, None], unchanged, step)
        return self.decoder(chain.astype("float32")).numpy()


class _Asked:
    """A model of raw strings as `measure` asks one: for the positions of the tags."""

    def __init__(self, model, labels):
        self.model, self.positions = model, {label.encode(): at for at, label in enumerate(labels)}

    def predict_on_batch(self, strings):
        answer = self.model(strings)
        tags = [[self.positions.get(tag, 0) for tag in row] for row in answer["tags"].numpy().tolist()]
        return np.array(tags), answer["probabilities"].numpy()


def evaluate(paths, test=None, form=()):
    """The measures of runs that answer together.

    test: the path of a file in columns; by default, they are measured on the test part with which they were
        trained.
    form: the options "encoding" and "column" by name, where that file is not as those of the first run.

    Raises `InputError` where they were trained on different data, the data have changed, or `test` cannot be
    read, has other tags, or the runs read no words.
    """
    configs, model = ensemble(paths)
    characters = reads_characters(configs[0])
    if characters and test is not None:
        raise InputError(f"{paths[0]} reads characters of Python source; --test goes with runs of words.")
    corpus = corpus_of(paths, configs, data.read)
    sequences = corpus.test
    if test is not None:
        options = {**configs[0]["options"], **dict(form)}
        read = conll.read_file(test, options.get("column"), options.get("encoding", conll.ENCODING))
        sequences = [
            Tagged(words, np.array(positions(tags, corpus.names, test), np.int32)) for words, tags in read
        ]
    elif characters:
        sequences = [piece for sequence in sequences for piece in pieces(sequence)]
    return measure(_Asked(model, corpus.names), sequences, corpus)[0]
