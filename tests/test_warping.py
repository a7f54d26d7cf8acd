"""Warped digits, straightened: the three networks, runs, pictures of what they see, bad input."""

import argparse
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
from experiments.inspect import __main__ as inspect
from experiments.warping import __main__ as warping
from experiments.warping import shown
from experiments.warping.ladder import RUNGS
from experiments.warping.network import SLOWER, network, optimizer, serving

EDGE = 24
TINY = ["--scene", "plain", "--units", "6", "--batch-size", "16", "--steps", "2"]


def corners(count, seed):
    return square_pictures(count, seed, EDGE, square=10)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("digits") / "corners.npz", corners(96, 0), corners(40, 1))


@pytest.fixture(scope="module")
def run(npz, tmp_path_factory):
    """With a recurrent transformer, so that it has gates too."""
    out = tmp_path_factory.mktemp("runs") / "corners"
    more = ["--transformer", "recurrent", "--epochs", "4", "--learning-rate", "0.004", "--trace"]
    assert warping.main(["--dataset", str(npz), *TINY, *more, "--out", str(out)]) == 0
    return out


def options(*words):
    return warping.train_parser().parse_args([*TINY, *words])


def assert_refused(capsys, arguments, sentence):
    assert warping.main([str(argument) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("rung", RUNGS)
def test_at_first_a_network_of_the_ladder_sees_the_picture_as_it_is(rung):
    keras.utils.set_random_seed(0)
    chosen = argparse.Namespace(**{**vars(options()), **RUNGS[rung].changed})
    model, transformer = network((EDGE, EDGE), 4, chosen), chosen.transformer
    pictures, _ = corners(5, 3)
    served = serving(model, ("a", "b", "c", "d")).predict(pictures, verbose=0)
    logits = model.predict(pictures, verbose=0)
    np.testing.assert_allclose(served["probabilities"], keras.ops.softmax(logits), rtol=1e-5)
    assert served["labels"].tolist() == [b"abcd"[k : k + 1] for k in logits.argmax(-1)]
    if transformer != "none":
        views = served["views"].reshape(5, -1, EDGE, EDGE)
        assert views.shape[1] == (2 if transformer == "recurrent" else 1)
        for number in range(views.shape[1]):
            np.testing.assert_allclose(views[:, number], pictures / 255, atol=1e-5)


def test_the_transformer_learns_with_a_tenth_of_the_rate():
    model = network((EDGE, EDGE), 4, options("--transformer", "once"))
    adam = optimizer(0.01, options())
    adam.build(model.trainable_variables)
    before = model.get_weights()
    # the first step of Adam is the rate, whatever the gradient
    adam.apply([keras.ops.ones_like(variable) for variable in model.trainable_variables])
    moved = [np.abs(new - old).max() for new, old in zip(model.get_weights(), before, strict=True)]
    told = {variable.path: step for variable, step in zip(model.weights, moved, strict=True)}
    slow = {path: step for path, step in told.items() if path.startswith("transformer/")}
    assert len(slow) >= 8 and len(slow) < len(told)
    for path, step in told.items():
        assert step == pytest.approx(0.01 * (SLOWER if path in slow else 1), rel=1e-3)


def test_a_run_learns_where_the_square_is(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] >= 0.9
    assert metrics["test_error_percent"] == pytest.approx(100 * (1 - metrics["test_accuracy"]))
    assert (run / "inspection").is_dir()


def test_predict_tells_the_label_and_draws_what_it_sees(run, npz, tmp_path, capsys):
    picture, views = tmp_path / "dark.png", tmp_path / "views.png"
    with np.load(npz) as arrays:
        given, label = arrays["x_test"][0], arrays["y_test"][0]
    Image.fromarray(255 - given).save(picture)  # black on white
    assert warping.main(["predict", str(run), "digits:0", str(picture), "--views", str(views)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["digits:0", str(picture)]
    assert lines[0][1:] == lines[1][1:]
    assert lines[0][1] == str(label)
    with Image.open(views) as image:
        assert image.width > 2 * image.height  # the picture and two views


def test_a_frame_is_drawn_where_the_view_is_taken_from():
    turned = np.array([[0.0, -0.5, 0.25], [0.5, 0.0, 0.0]])  # half as large, by a quarter turn, to the right
    (corners,) = shown.frames(turned, (5, 9))
    np.testing.assert_allclose(corners[0], [4 * (1.25 + 0.5), 2 * (1 - 0.5)])
    np.testing.assert_allclose(corners.mean(axis=0)[1], 2, atol=0.3)
    np.testing.assert_array_equal(corners[0], corners[-1])


def test_a_run_is_inspected_view_by_view(run, tmp_path):
    out = tmp_path / "inspection"
    assert inspect.main([str(run), "digits:0", "digits:3", "--out", str(out)]) == 0
    assert {"text-1.html", "text-2.html"} <= {path.name for path in out.iterdir()}


SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments", "PIL")))  # none can be imported
import numpy as np
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
told = answer(inputs=tf.constant(np.zeros((2, 24, 24), "uint8")))
assert told["probabilities"].shape == (2, 4) and told["theta"].shape == (2, 2, 2, 3)
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


def test_theta_comes_with_the_pictures():
    layer = keras_gates.SpatialTransformer(keras.layers.Flatten(), return_theta=True)
    alone = keras_gates.SpatialTransformer(keras.layers.Flatten())
    pictures = np.random.default_rng(0).random((3, 4, 5, 1)).astype("float32")
    layer.build(pictures.shape)
    alone.build(pictures.shape)
    kernel = np.random.default_rng(1).normal(0, 0.1, layer.kernel.shape)
    for each in (layer, alone):
        each.kernel.assign(kernel)
    views, theta = layer(pictures)
    np.testing.assert_array_equal(views, alone(pictures))
    np.testing.assert_array_equal(theta, alone.theta(pictures))
    assert layer.compute_output_shape((None, 4, 5, 1)) == ((None, 4, 5, 1), (None, 2, 3))


def test_bad_input_is_one_sentence(run, npz, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    assert_refused(capsys, ["--dataset", tmp_path / "none.npz"], "nor an .npz file that exists")
    assert_refused(
        capsys, ["--dataset", npz, "--scene", "moved", "--edge", "9"], "--edge must be at least 24"
    )
    assert_refused(capsys, ["--dataset", npz, "--trace"], "which only --transformer recurrent has; got")
    assert_refused(capsys, ["predict", run, "digits:9999"], "The test part has 40 pictures")
    assert_refused(capsys, ["predict", run, tmp_path / "text.png"], "cannot be read as a picture")
    absent = tmp_path / "no" / "a.png"
    assert_refused(capsys, ["predict", run, "digits:0", "--views", absent], "There is no folder")
