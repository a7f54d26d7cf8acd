"""Polyphonic music: the likelihood of a frame, the pieces, and a run from the outside."""

import itertools
import json

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")
pytest.importorskip("scipy", reason="the experiments need keras_gates[experiments]")

import scipy.io

import keras_gates
from experiments.inspect import __main__ as inspect
from experiments.music import __main__ as music
from experiments.music import data
from experiments.music.network import FrameLoss, foretelling
from experiments.music.problem import batches_of, cut, nll

TINY = ["--units", "6", "--epochs", "2", "--batch-size", "4", "--window", "10"]


def pieces(lengths, seed=0):
    """Pieces of few notes, each held for two frames."""
    rng = np.random.default_rng(seed)
    made = []
    for length in lengths:
        piece = np.zeros((length, data.KEYS), "uint8")
        piece[np.arange(length), 40 + np.repeat(rng.integers(5, size=length), 2)[:length]] = 1
        made.append(piece)
    return made


def write(path, **parts):
    cells = {}
    for name, of_part in parts.items():
        cells[name] = np.empty((1, len(of_part)), object)
        cells[name][0, :] = of_part
    scipy.io.savemat(path, cells)
    return str(path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    parts = {"traindata": [12, 30, 25, 18], "validdata": [9, 14], "testdata": [11, 23, 16]}
    path = tmp_path_factory.mktemp("data") / "JSB_Chorales.mat"
    return write(path, **{name: pieces(lengths, len(name)) for name, lengths in parts.items()})


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "music"
    assert music.main(["--dataset", corpus, *TINY, "--out", str(out)]) == 0
    return out


def by_hand(probabilities, pieces):
    """−log p of every frame but the first of each piece, key by key, in nats."""
    total, frames = 0.0, 0
    for of_piece, piece in zip(probabilities, pieces, strict=True):
        for expected, frame in zip(of_piece, piece[1:], strict=False):
            for p, sounds in zip(expected, frame, strict=True):
                total -= np.log(p if sounds else 1 - p)
            frames += 1
    return total / frames


def test_the_likelihood_is_the_sum_over_keys_and_the_mean_over_frames():
    some = pieces([5, 9, 3])
    logits = np.random.default_rng(1).normal(size=data.KEYS).astype("float32")
    found = nll(lambda given: np.broadcast_to(logits, given.shape), batches_of(some, 2))
    probabilities = [
        np.broadcast_to(1 / (1 + np.exp(-logits)), (len(piece) - 1, data.KEYS)) for piece in some
    ]
    assert found == pytest.approx(by_hand(probabilities, some), rel=1e-5)


def test_the_loss_ignores_frames_without_weight():
    wanted, logits = np.zeros((1, 2, data.KEYS)), np.zeros((1, 2, data.KEYS))
    logits[0, 1] = 50
    loss = FrameLoss()(wanted, logits, sample_weight=np.array([[1.0, 0.0]]))
    assert float(loss) == pytest.approx(data.KEYS * np.log(2))


def test_a_mixture_is_a_distribution_over_frames_with_the_probabilities_of_its_keys():
    """Of three keys all eight frames can be listed: their likelihoods add up to 1, and to those of a key."""
    mixture = np.random.default_rng(2).normal(0, 2, (1, 1, 4, 3 + 1)).astype("float32")
    frames = np.array(list(itertools.product([0.0, 1.0], repeat=3)))[:, None, None]
    likelihoods = np.exp([-float(FrameLoss()(frame, mixture)) for frame in frames])
    assert likelihoods.sum() == pytest.approx(1, rel=1e-5)
    outputs = keras.Input((None, 4, 4))
    keys = foretelling(keras.Model(outputs, keras.layers.Identity()(outputs)))(mixture)[0, 0]
    assert keys.numpy() == pytest.approx(likelihoods @ frames[:, 0, 0], rel=1e-5)
    shares = np.exp(mixture[0, 0, :, 3]) / np.exp(mixture[0, 0, :, 3]).sum()
    apart = shares @ (1 / (1 + np.exp(mixture[0, 0, :, :3]))).prod(axis=-1)
    assert likelihoods[0] == pytest.approx(apart, rel=1e-5), "silence"


def test_a_run_with_a_mixture(corpus, tmp_path):
    """Its measure is the likelihood by the mixture in the model; what it gives are probabilities of keys."""
    run = tmp_path / "run"
    assert music.main(["--dataset", corpus, *TINY, "--mixtures", "3", "--out", str(run)]) == 0
    model = keras.saving.load_model(run / "model.keras")
    mixture_of = keras.Model(model.input, model.get_layer("mixture").output)
    total, frames = 0.0, 0
    for piece in data.read(corpus).test:
        mixture = mixture_of.predict(piece[None, :-1].astype("float32"), verbose=0)[0].astype("float64")
        logits, weights = mixture[..., :-1], np.exp(mixture[..., -1])
        of_keys = np.where(piece[1:, None], 1, np.exp(-logits)) / (1 + np.exp(-logits))
        of_frames = (weights * of_keys.prod(axis=-1)).sum(axis=-1) / weights.sum(axis=-1)
        total, frames = total - np.log(of_frames).sum(), frames + len(of_frames)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_nll"] == pytest.approx(total / frames, rel=1e-5)
    assert "published" not in metrics, "those are of independent keys"
    piece = piece[None].astype("float32")
    probabilities = model.predict(piece, verbose=0)
    assert probabilities.shape == piece.shape
    stream = keras_gates.load(run / "saved_model").stream(native=True)
    streamed = [stream.push(frame) for frame in piece.swapaxes(0, 1)]
    np.testing.assert_allclose(np.stack(streamed, 1), probabilities, atol=1e-6)


def test_every_frame_but_the_first_is_foretold_once():
    piece = np.arange(24)[:, None]
    parts = cut(piece, 10)
    assert [part[0, 0] for part in parts] == [0, 10, 20]
    assert [target for part in parts for target in part[1:, 0]] == list(range(1, 24))


def test_names_of_notes():
    frame = np.zeros(data.KEYS)
    assert data.names_of(frame) == "·"
    frame[[0, 39, 87]] = 1
    assert data.names_of(frame) == "A0 C4 C8"


def test_the_measure_is_that_of_the_saved_model(run, corpus):
    test = data.read(corpus).test
    model = keras.saving.load_model(run / "model.keras")
    probabilities = [model.predict(piece[None].astype("float32"), verbose=0)[0] for piece in test]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_nll"] == pytest.approx(by_hand(probabilities, test), rel=1e-4)
    assert metrics["main_measure"] == {"name": "test_nll", "better": "lower", "value": metrics["test_nll"]}
    assert "GRU 8.54" in metrics["published"]
    assert (run / "piece.png").exists()


def test_independent_notes_are_the_baseline(run, corpus):
    read = data.read(corpus)
    share = (np.concatenate(read.train).sum(axis=0) + 1) / (sum(map(len, read.train)) + 2)
    expected = by_hand(
        [np.broadcast_to(share, (len(piece) - 1, data.KEYS)) for piece in read.test], read.test
    )
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["baseline_nll"] == pytest.approx(expected, rel=1e-4)


def test_inspect_takes_the_numbers_of_pieces(run, tmp_path, capsys):
    assert inspect.main([str(run), "0", "2", "--out", str(tmp_path / "inspection")]) == 0
    assert inspect.main([str(run), "3", "--out", str(tmp_path / "other")]) == 2
    assert "'3' is not the number of a test example: expected 0 to 2" in capsys.readouterr().err


BAD_INPUT = {
    "no file": (lambda folder: "none.mat", "there is no file none.mat"),
    "not MATLAB": (lambda folder: _text(folder / "x.mat"), "x.mat is no corpus of piano rolls"),
    "no test part": (
        lambda folder: write(folder / "x.mat", traindata=pieces([5]), validdata=pieces([5])),
        "x.mat is no corpus of piano rolls",
    ),
    "other keys": (
        lambda folder: write(
            folder / "x.mat", **{part: [np.zeros((4, 12), "uint8")] for part in data.PARTS.values()}
        ),
        "a piece has the shape (4, 12)",
    ),
}


def _text(path):
    path.write_text("no piano roll")
    return str(path)


@pytest.mark.parametrize("make, sentence", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_in_one_sentence(make, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert music.main(["--dataset", make(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
