"""Runs that answer together, by the mean of their probabilities, and how often they are right."""

import argparse
import dataclasses

import numpy as np

from experiments.common import tables
from experiments.common.answers import probabilities_of
from experiments.common.together import corpus_of, load_together, positions
from experiments.sentiment import TASK, data
from experiments.sentiment.problem import measure

TINY = np.finfo("float32").tiny  # whose logarithm is finite


def ensemble(paths):
    """The configs of the runs, and a function from texts to the mean of their probabilities."""
    configs, models = load_together(TASK, paths, "outputs")
    return configs, lambda texts: np.mean([model(texts).numpy() for model in models], axis=0)


def evaluate(paths, test=None, form=()):
    """The measures of runs that answer together.

    test: the path of a table or a folder with labelled texts; by default, they are measured on the test part
        with which they were trained.
    form: options of `tables.add_options` by name, where that table is not as those of the first run.

    Raises `InputError` where they were trained on different data, the data have changed, or `test` cannot be
    read or has other labels.
    """
    configs, model = ensemble(paths)
    corpus = corpus_of(paths, configs, data.read)
    if test is not None:
        options = argparse.Namespace(**{**configs[0]["options"], **dict(form)})
        texts, labels = tables.read_labelled(test, tables.Form.of(options))
        _tell_of_known(test, texts, corpus)
        part = data.Part(texts, positions(labels, corpus.names, test))
        corpus = dataclasses.replace(corpus, test=part)
    order = np.argsort([len(text) for text in corpus.test.texts], kind="stable")  # so that little is padded
    texts = [corpus.test.texts[at] for at in order]
    probabilities = np.array(list(probabilities_of(model, configs[0], texts)))
    # the logarithms of probabilities are logits of the same probabilities
    logits = np.log(np.maximum(probabilities, TINY))
    return measure(logits, np.asarray(corpus.test.labels)[order], corpus)[0]


def _tell_of_known(path, texts, corpus):
    """Print how many texts were in training or validation, since these say nothing of new ones."""
    known = {*corpus.train.texts, *corpus.validation.texts}
    if number := sum(text in known for text in texts):
        print(f"{path}: {number:,} of {len(texts):,} texts are in the training or the validation part.")
