"""Models of the experiments load after `import keras_gates` alone, where `experiments` cannot be imported."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_gates
from experiments.common import words
from experiments.sentiment import network as sentiment
from experiments.tagging import network as tagging

ROOT = pathlib.Path(keras_gates.__file__).parents[1]
TEXTS = ["A film to remember!", "It isn't <br/> good", "", "Żółw: 3 times"]
WORDS = [["a", "good", "film"], ["bad", "Łódź", ""]]
RECURRENT = {"cell": "lstm", "units": 4, "layers": 1, "dropout": 0.1, "embedding": 3}

# Loads every model of a folder and writes what it gives beside it.
LOAD = """
import json, pathlib, sys
sys.modules["experiments"] = None  # cannot be imported
import keras, numpy as np, tensorflow as tf
import keras_gates
for path in pathlib.Path(sys.argv[1]).glob("*.keras"):
    given = json.loads(path.with_suffix(".json").read_text())
    answer = keras.saving.load_model(path)(tf.constant(given))
    arrays = [value.numpy() for value in keras.tree.flatten(answer)]
    arrays = [array.astype("U") if array.dtype == object else array for array in arrays]
    np.savez(path.with_suffix(".npz"), *arrays)
"""


def options(**others):
    return argparse.Namespace(**{**RECURRENT, **others})


def classifier(pool, bidirectional):
    vectorizer = words.vectorizer(TEXTS, 20)
    model = sentiment.network(
        vectorizer.vocabulary_size(),
        2,
        options(pool=pool, bidirectional=bidirectional, ngrams=2, word_dropout=0.1),
    )
    return sentiment.serving(model, vectorizer)


def tagger(characters, residual=True):
    of_words = options(
        bidirectional=True, residual=residual, word_dropout=0.1, character_embedding=2, character_units=2
    )
    alphabet = list("abdfglmo") if characters else None
    return tagging.serving(tagging.word_network(["a", "film"], alphabet, 3, of_words), ["ADJ", "DET", "NOUN"])


def character_tagger():
    network = tagging.text_network(list("abc"), 2, options(bidirectional=False, residual=False))
    return tagging.serving(network, ["name", "space"])


MODELS = {
    "sentiment by mean": (lambda: classifier("mean", False), TEXTS),
    "sentiment by max": (lambda: classifier("max", True), TEXTS),
    "sentiment by attention": (lambda: classifier("attention", True), TEXTS),
    "sentiment by the last output": (lambda: classifier("last", False), TEXTS),
    "tagging of words": (lambda: tagger(characters=False), WORDS),
    "tagging of words and their characters": (lambda: tagger(characters=True), WORDS),
    "tagging of characters": (character_tagger, TEXTS),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """By model, what it gives here and what it gives in another process, each a list of arrays."""
    folder, ours = tmp_path_factory.mktemp("models"), {}
    for name, (make, given) in MODELS.items():
        keras.utils.set_random_seed(1)
        model = make()
        model.save(folder / f"{name}.keras")
        (folder / f"{name}.json").write_text(json.dumps(given))
        ours[name] = [value.numpy() for value in keras.tree.flatten(model(tf.constant(given)))]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, folder],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    def theirs(name):
        with np.load(folder / f"{name}.npz") as arrays:
            return list(arrays.values())

    return {name: (ours[name], theirs(name)) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_loads_after_import_keras_gates_alone(name, answers):
    for ours, theirs in zip(*answers[name], strict=True):
        np.testing.assert_array_equal(theirs, ours.astype("U") if ours.dtype == object else ours)
