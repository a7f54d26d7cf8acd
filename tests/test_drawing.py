"""Digits drawn in several steps: data, the bound, runs, new digits in TensorFlow alone, bad input."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit
from square_pictures import saved, square_pictures

import keras_gates
from experiments.common.mnist import Part
from experiments.common.run_folder import load_network, read_config
from experiments.common.scenes import Scenes
from experiments.drawing import TASK, shown
from experiments.drawing import __main__ as drawing
from experiments.drawing.data import DrawingBatches, share_of_ink
from experiments.drawing.ladder import RUNGS
from experiments.drawing.network import Bound, SeededNoise, metrics, network, serving, start_from
from experiments.drawing.problem import measure
from experiments.drawing.reading import read

EDGE = 12
TINY = ["--units", "24", "--steps", "2", "--latent", "3", "--batch-size", "16"]
TINY += ["--read-size", "6", "--write-size", "6"]


def corners(count, seed):
    return square_pictures(count, seed, EDGE, square=4)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("digits") / "corners.npz", corners(192, 0), corners(40, 1))


@pytest.fixture(scope="module")
def run(npz, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "corners"
    fast = ["--epochs", "8", "--learning-rate", "0.03"]
    assert drawing.main(["--dataset", str(npz), *TINY, *fast, "--out", str(out)]) == 0
    return out


def options(*words):
    return drawing.train_parser().parse_args([*TINY, *words])


def batches_of(pictures, part="test", **of):
    scenes = Scenes(Part(pictures, np.zeros(len(pictures), int)), "plain", EDGE, part)
    return DrawingBatches(scenes, 8, **{"steps": 2, "latent": 3, **of})


def assert_refused(capsys, arguments, sentence):
    assert drawing.main([str(argument) for argument in arguments]) == 2
    assert sentence in capsys.readouterr().err


# -- data


def test_ink_is_drawn_by_the_brightness_of_a_pixel_and_noise_is_normal():
    grey = np.tile(np.array([0, 51, 204, 255], "uint8"), (400, 12, 3))
    given, pictures = batches_of(grey).collate(np.arange(400))
    assert set(np.unique(pictures)) == {0, 255}
    shares = (pictures == 255).reshape(-1, 4).mean(axis=0)
    np.testing.assert_allclose(shares, [0, 0.2, 0.8, 1], atol=5 * 0.4 / np.sqrt(400 * 36))
    assert shares[0] == 0 and shares[3] == 1
    np.testing.assert_array_equal(given["pictures"], pictures)
    assert given["noise"].shape == (400, 2, 3)
    assert abs(given["noise"].mean()) < 5 / np.sqrt(2400)
    assert abs(given["noise"].std() - 1) < 5 / np.sqrt(2 * 2400)


def test_training_is_drawn_anew_in_each_epoch_and_the_test_never():
    grey = np.full((20, EDGE, EDGE), 128, "uint8")
    test = batches_of(grey)
    given, whole = test.collate(np.arange(20))
    again, some = test.collate(np.array([7, 3]))
    np.testing.assert_array_equal(some, whole[[7, 3]])
    np.testing.assert_array_equal(again["noise"], given["noise"][[7, 3]])
    train = batches_of(grey, "train")
    first, second = (train.collate(np.sort(np.concatenate(train.epoch(k)))) for k in (0, 1))
    assert len(np.unique(np.concatenate([first[1], second[1], whole]), axis=0)) == 60
    assert len(np.unique(np.concatenate([first[0]["noise"], second[0]["noise"]]), axis=0)) == 40
    assert not np.array_equal(batches_of(grey, "train", seed=1).collate([0])[1], train.collate([0])[1])


def test_the_share_of_ink_counts_half_a_scene_more():
    grey = corners(5, 0)[0]
    expected = (grey.sum(axis=0) / 255 + 0.5) / 6
    np.testing.assert_allclose(share_of_ink(batches_of(grey).scenes), expected)


# -- the bound


def test_the_bound_is_that_of_numpy_and_finite_for_any_logits():
    rng = np.random.default_rng(0)
    pictures = np.where(rng.random((5, 3, 4)) < 0.3, 255, 0).astype("uint8")
    outputs = rng.normal(size=(5, 12 + 2), scale=3).astype("float32")
    ink, probability = pictures.reshape(5, -1) == 255, expit(outputs[:, :12].astype("float64"))
    likelihood = np.log(np.where(ink, probability, 1 - probability)).sum(axis=-1)
    kl = outputs[:, 12:].sum(axis=-1)
    np.testing.assert_allclose(Bound()(pictures, outputs), np.mean(kl - likelihood), rtol=1e-5)
    for metric, expected in zip(metrics(), (-likelihood, kl), strict=True):
        metric.update_state(pictures, outputs)
        np.testing.assert_allclose(metric.result(), expected.mean(), rtol=1e-5)
    wrong = np.where(np.c_[ink, np.zeros((5, 2))], -1e4, 1e4).astype("float32")
    assert np.isfinite(Bound()(pictures, wrong))


@pytest.mark.parametrize("rung", RUNGS)
def test_a_network_that_says_nothing_is_the_baseline(rung):
    """It draws the mean of the training pictures, so its bound is that of independent pixels."""
    keras.utils.set_random_seed(0)
    grey = corners(30, 3)[0]
    batches = batches_of(grey)
    ink = share_of_ink(batches.scenes)
    model = network((EDGE, EDGE), options("--attention", RUNGS[rung].changed["attention"]))
    start_from(model, ink)
    for weight in model.weights:
        if weight.name.startswith(("write", "latent")):
            weight.assign(np.zeros(weight.shape))
    found = measure(model, batches, ink)
    assert found["test_kl"] == 0
    assert found["test_bound"] == found["test_reconstruction"]
    assert found["test_bound"] == pytest.approx(found["baseline_bound"], rel=1e-5)
    np.testing.assert_allclose(serving(model).predict(grey, verbose=0)["canvases"][3, 1], ink, rtol=1e-4)


def test_noise_is_normal_and_that_of_a_seed_whatever_stands_beside_it():
    layer = SeededNoise(2, 3)
    some, more = layer(np.array([5, 2])), np.asarray(layer(np.arange(200)))
    np.testing.assert_array_equal(some, more[[5, 2]])
    assert abs(more.mean()) < 5 / np.sqrt(1200) and abs(more.std() - 1) < 5 / np.sqrt(2400)
    assert len(np.unique(more)) == 1200


# -- runs


def test_a_run_learns_where_the_square_is(run):
    """Which of the four squares it is says about 25 nats of the pixels more than each pixel by itself."""
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_bound"] < metrics["baseline_bound"] - 10
    assert metrics["test_bound"] == pytest.approx(metrics["test_reconstruction"] + metrics["test_kl"])
    assert metrics["test_kl"] > np.log(4) / 2
    assert metrics["main_measure"]["better"] == "lower"


def test_predict_tells_the_nats_and_draws_the_steps(run, npz, tmp_path, capsys):
    picture, steps, film = tmp_path / "dark.png", tmp_path / "steps.png", tmp_path / "film.gif"
    with np.load(npz) as arrays:
        given = arrays["x_test"][0]
    Image.fromarray(255 - given).save(picture)  # black on white
    more = ["--steps", str(steps), "--film", str(film)]
    assert drawing.main(["predict", str(run), "digits:0", str(picture), *more]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["digits:0", str(picture)]
    assert lines[0][1] == lines[1][1]
    told = keras_gates.load(run / "saved_model")(given[None])
    assert float(lines[0][1]) == pytest.approx(float(np.sum(told["kl"])), abs=0.01)
    drawn = np.asarray(told["canvases"])[0, -1]
    assert drawn[given == 255].mean() > drawn[given < 255].mean() + 0.3
    with Image.open(steps) as image:
        assert image.width > 200
    with Image.open(film) as image:
        assert image.n_frames == 2


def test_write_draws_new_digits(run, tmp_path):
    sheets, film = (tmp_path / "a.png", tmp_path / "b.png"), tmp_path / "film.gif"
    for sheet, seed in zip(sheets, ("0", "5"), strict=True):
        words = ["--count", "5", "--seed", seed, "--out", str(sheet), "--film", str(film)]
        assert drawing.main(["write", str(run), *words]) == 0
    first, other = (np.asarray(Image.open(sheet)) for sheet in sheets)
    assert first.shape == other.shape and not np.array_equal(first, other)
    with Image.open(film) as image:
        assert image.n_frames == 2


def test_a_square_is_drawn_where_the_trace_says():
    told = {"a_center": np.array([[[3.0, 5.0]]]), "a_stride": np.array([[[0.5]]])}
    np.testing.assert_array_equal(shown.squares(told, "a_", 4), [[[2, 4, 4, 6]]])
    assert shown.squares(told, "b_", 4) is None


def test_steps_without_attention_are_drawn_without_squares(tmp_path):
    canvases = np.linspace(0, 1, 2 * 3 * 20).reshape(2, 3, 4, 5)
    shown.film(canvases, None, tmp_path / "film.gif")
    shown.strip(canvases[0, 2], canvases[0], None, None, tmp_path / "steps.png")
    with Image.open(tmp_path / "film.gif") as film, Image.open(tmp_path / "steps.png") as steps:
        assert film.n_frames == 3 and film.width > 2 * 5 * 16
        assert steps.width > 2 * steps.height


def test_a_run_is_read_step_by_step(run):
    model, config = load_network(run), read_config(run)
    reading = read(model, config, ["digits:0", "digits:3"])
    trace = keras_gates.trace(model, reading.inputs)
    assert list(trace) == [TASK]
    assert trace[TASK]["h"].shape == (2, 2, 24)
    assert [len(row) for row in reading.tokens] == [2, 2]
    np.testing.assert_allclose(trace[TASK]["kl"][..., 0], np.stack(reading.labels["nats"]), rtol=1e-4)
    np.testing.assert_allclose(
        expit(trace[TASK]["decoder_canvas"]).mean(axis=-1), np.stack(reading.labels["ink"]), rtol=1e-4
    )


SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments", "PIL")))  # none can be imported
import numpy as np
import tensorflow as tf
draw = tf.saved_model.load(sys.argv[1] + "/generator").signatures["serving_default"]
np.save(sys.argv[2], draw(inputs=tf.constant([3, 8], tf.int32))["outputs"])
see = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures["serving_default"]
told = see(inputs=tf.constant(np.zeros((2, 12, 12), "uint8")))
assert told["canvases"].shape == (2, 2, 12, 12) and told["kl"].shape == (2, 2)
"""


def test_new_pictures_are_drawn_by_a_seed_where_only_tensorflow_is(run, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SERVE, run, tmp_path / "drawn.npy"],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    drawn = np.load(tmp_path / "drawn.npy")
    assert drawn.shape == (2, 2, EDGE, EDGE) and not np.allclose(drawn[0], drawn[1], rtol=1e-2)
    here = keras_gates.load(run / "generator")(np.array([8, 1, 3]))
    np.testing.assert_allclose(drawn, here.numpy()[[2, 0]], rtol=1e-4, atol=1e-6)


def test_bad_input_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    assert_refused(capsys, ["--dataset", tmp_path / "none.npz"], "nor an .npz file that exists")
    assert_refused(capsys, ["--layers", "2"], "leave out --layers and --dropout")
    assert_refused(capsys, ["--dropout", "0.1"], "leave out --layers and --dropout")
    assert_refused(capsys, ["--attention", "eye"], "--attention")
    assert_refused(capsys, ["predict", run, "digits:9999"], "The test part has 40 pictures")
    assert_refused(capsys, ["predict", run, tmp_path / "text.png"], "cannot be read as a picture")
    assert_refused(capsys, ["write", run, "--out", tmp_path / "no" / "a.png"], "There is no folder")
    assert_refused(capsys, ["write", tmp_path], "is not a finished run")
