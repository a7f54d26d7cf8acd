"""Digits in a few glances: both readers, runs, paths of the eye, bad input."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from square_pictures import saved, square_pictures

import keras_gates
from experiments.common import mnist
from experiments.common.scenes import corpus_of, picture_of
from experiments.glimpses import __main__ as glimpses
from experiments.glimpses.looking import look_at
from experiments.glimpses.network import GlanceAccuracy, GlanceLoss, network, serving
from experiments.inspect import __main__ as inspect

EDGE = 12
TINY = ["--units", "12", "--glances", "3", "--patch", "4", "--batch-size", "16"]


def corners(count, seed):
    return square_pictures(count, seed, EDGE, square=4)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("digits") / "corners.npz", corners(192, 0), corners(40, 1))


@pytest.fixture(scope="module")
def run(npz, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "corners"
    fast = ["--epochs", "12", "--patience", "12", "--learning-rate", "0.02"]
    assert glimpses.main(["--dataset", str(npz), *TINY, *fast, "--out", str(out)]) == 0
    return out


def options(*words):
    return glimpses.train_parser().parse_args([*TINY, *words])


def assert_refused(capsys, arguments, sentence):
    assert glimpses.main([str(argument) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_the_test_part_may_be_of_another_dataset(npz):
    mixed = corpus_of({"dataset": "digits", "test_on": str(npz), "limit": None})
    np.testing.assert_array_equal(mixed.test.pictures, corners(40, 1)[0])
    np.testing.assert_array_equal(mixed.train.pictures, mnist.load("digits").train.pictures)


# -- networks


@pytest.mark.parametrize("reader", ["draw", "ram"])
@pytest.mark.parametrize("layers", ["1", "2"])
def test_both_readers_give_logits_after_each_glance(reader, layers):
    keras.utils.set_random_seed(0)
    model = network((EDGE, EDGE), 10, options("--reader", reader, "--layers", layers, "--scales", "2"))
    pictures, labels = corners(5, 3)
    outputs = model.predict(pictures, verbose=0)
    served = serving(model, list(map(str, range(10)))).predict(pictures, verbose=0)
    logits = outputs[..., -10:]
    np.testing.assert_allclose(served["probabilities"], keras.ops.softmax(logits), rtol=1e-5)
    assert [str(label) for label in served["labels"].astype(str)] == [
        str(k) for k in logits[:, -1].argmax(-1)
    ]
    last = keras.losses.sparse_categorical_crossentropy(labels, logits[:, -1], from_logits=True)
    policy = keras_gates.ReinforceLoss()(labels, outputs) if reader == "ram" else 0.0
    np.testing.assert_allclose(GlanceLoss(10)(labels, outputs), np.mean(last) + policy, rtol=1e-5)
    accuracy = GlanceAccuracy(10)
    accuracy.update_state(labels, outputs)
    np.testing.assert_allclose(accuracy.result(), np.mean(logits[:, -1].argmax(-1) == labels))


# -- runs


def test_a_run_learns_where_the_square_is_and_tells_how_soon(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] >= 0.9
    assert metrics["test_accuracy_after_3"] == metrics["test_accuracy"]
    assert "test_accuracy_after_1" in metrics


def test_predict_tells_the_label_and_draws_the_path(run, npz, tmp_path, capsys):
    picture, path, film = tmp_path / "dark.png", tmp_path / "path.png", tmp_path / "film.gif"
    with np.load(npz) as arrays:
        shown, label = arrays["x_test"][0], arrays["y_test"][0]
    Image.fromarray(255 - shown).save(picture)  # black on white
    assert (
        glimpses.main(
            ["predict", str(run), "digits:0", str(picture), "--path", str(path), "--film", str(film)]
        )
        == 0
    )
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["digits:0", str(picture)]
    assert lines[0][1:] == lines[1][1:]
    assert lines[0][1] == str(label)
    with Image.open(path) as image:
        assert image.height > 100
    with Image.open(film) as image:
        assert image.n_frames == 3


def test_a_picture_is_asked_about_where_the_trace_says(run):
    config = json.loads((run / "config.json").read_text())
    picture = picture_of("digits:1", config)
    glances = look_at(keras_gates.load(run / "saved_model"), config, picture)
    assert glances.centres.shape == (3, 2) and glances.edges.shape == (3,)
    assert np.all(np.diff(glances.centres, axis=0).any(axis=0))


def test_an_eye_that_draws_its_place_trains_and_tells_its_path(npz, tmp_path, capsys):
    out = tmp_path / "ram"
    arguments = ["--dataset", str(npz), *TINY, "--epochs", "1", "--reader", "ram", "--limit", "32"]
    assert glimpses.main([*arguments, "--out", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    glances = look_at(keras_gates.load(out / "saved_model"), config, picture_of("digits:1", config))
    assert np.all((glances.centres >= 0) & (glances.centres <= EDGE - 1))
    np.testing.assert_array_equal(glances.edges, 4)


def test_a_run_is_inspected_glance_by_glance(run, tmp_path):
    out = tmp_path / "inspection"
    assert inspect.main([str(run), "digits:0", "digits:3", "--out", str(out)]) == 0
    assert {"text-1.html", "text-2.html"} <= {path.name for path in out.iterdir()}


SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments", "PIL")))  # none can be imported
import numpy as np
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
told = answer(inputs=tf.constant(np.zeros((2, 12, 12), "uint8")))
assert told["probabilities"].shape == (2, 3, 4) and told["labels"].shape == (2,)
print("served")
"""


def test_the_saved_model_takes_pictures_where_only_tensorflow_is(run):
    done = subprocess.run(
        [sys.executable, "-c", SERVE, run / "saved_model"],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.stdout == "served\n", done.stderr


def test_bad_input_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    assert_refused(capsys, ["--dataset", tmp_path / "none.npz"], "nor an .npz file that exists")
    assert_refused(capsys, ["--test-on", tmp_path / "none.npz"], "nor an .npz file that exists")
    assert_refused(capsys, ["--reader", "eye"], "--reader")
    assert_refused(capsys, ["predict", run, "digits:9999"], "The test part has 40 pictures")
    assert_refused(capsys, ["predict", run, tmp_path / "text.png"], "cannot be read as a picture")
    absent = tmp_path / "no" / "a.png"
    assert_refused(capsys, ["predict", run, "digits:0", "--path", absent], "There is no folder")
