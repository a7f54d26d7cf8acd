"""Handwriting: strokes, their likelihood, the data, runs, and what is drawn."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("HersheyFonts", reason="the experiments need keras_gates[experiments]")

from PIL import Image
from scipy.stats import bernoulli, multivariate_normal

from experiments.common.run_folder import load_network, read_config
from experiments.handwriting import __main__ as handwriting
from experiments.handwriting import data, reading, shown
from experiments.handwriting.data import hershey
from experiments.handwriting.data.strokes import Writing, lines_of, standardised, strokes_of
from experiments.handwriting.measures import independent, nats_of, walks
from experiments.handwriting.network import Network, Pen, names_of
from experiments.handwriting.problem import StrokeBatches, numbers_of
from experiments.handwriting.recogniser import Recogniser
from experiments.handwriting.scribe import Scribe, Written
from keras_gates.writing import Mixture

TINY = ["--units", "8", "--layers", "1", "--mixtures", "2", "--batch-size", "16"]
UNIT = 3.5


def options(*words):
    return handwriting.train_parser().parse_args([*TINY, *words])


@pytest.fixture(scope="module")
def corpus():
    return data.read(options("--limit", "24"))


@pytest.fixture(scope="module")
def network(corpus):
    keras.utils.set_random_seed(0)
    return Network(names_of(corpus.characters), UNIT, 10, options("--layers", "2"))


@pytest.fixture(scope="module")
def trained(network):
    return network.training()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "handwriting"
    assert handwriting.main([*TINY, "--epochs", "1", "--limit", "24", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def scribe(run):
    return Scribe.of_run(load_network(run), read_config(run))


@pytest.fixture
def already_loaded(scribe, monkeypatch):
    """The commands take the network of `scribe`, which is compiled."""
    monkeypatch.setattr(handwriting, "load_network", lambda path: scribe.model)


def assert_refused(capsys, arguments, sentence):
    assert handwriting.main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1


# -- strokes


def test_strokes_draw_the_lines_that_they_were_made_of():
    lines = [np.array([[3.0, 4], [5, 1], [5, 8]]), np.array([[9.0, 9]]), np.array([[0.0, 0], [2, 2]])]
    strokes = strokes_of(lines)
    np.testing.assert_array_equal(strokes[:, 2], [0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(strokes[1:4, :2], [[2, -3], [0, 7], [4, 1]])
    for drawn, line in zip(lines_of(strokes), lines, strict=True):
        np.testing.assert_allclose(drawn, line - [3, 4])


def test_the_unit_is_the_deviation_of_the_moves_of_the_training_part(corpus):
    moves = np.concatenate([np.diff(np.cumsum(w.strokes[:, :2], axis=0), axis=0) for w in corpus.train])
    assert corpus.unit == pytest.approx(moves.std(), rel=1e-5)
    np.testing.assert_allclose(
        standardised(corpus.train[0].strokes, corpus.unit)[1:, :2],
        corpus.train[0].strokes[1:, :2] / moves.std(),
        rtol=1e-5,
    )


# -- likelihoods, against SciPy


def by_hand(parameters, strokes, components):
    """log p of every move but the first row, of standardised strokes: one Gaussian after the other."""
    found = []
    for row, (*point, pen) in zip(np.asarray(parameters, "float64"), strokes[1:], strict=False):
        k = components
        weights, means = np.exp(row[:k] - np.logaddexp.reduce(row[:k])), row[k : 3 * k].reshape(k, 2)
        deviations, rhos = np.exp(row[3 * k : 5 * k]).reshape(k, 2), np.tanh(row[5 * k : 6 * k])
        density = 0.0
        for weight, mean, (s, t), rho in zip(weights, means, deviations, rhos, strict=True):
            covariance = [[s * s, rho * s * t], [rho * s * t, t * t]]
            density += weight * multivariate_normal(mean, covariance).pdf(point)
        lifted = 1 / (1 + np.exp(-row[6 * k]))
        found.append(np.log(density) + bernoulli(lifted).logpmf(int(pen)))
    return np.array(found)


def test_the_loss_of_a_padded_batch_is_the_mean_over_real_points(corpus, network, trained):
    batches = StrokeBatches(corpus.test[:3], network.names, UNIT, 3)
    ((given, wanted, weights),) = batches.once()
    parameters = trained.predict_on_batch(given)
    each = [by_hand(row, batches.strokes[at], 2) for row, at in zip(parameters, batches.order, strict=True)]
    assert len({len(row) for row in each}) == 3  # some are padded
    loss = network.mixture.loss(reduction="mean_with_sample_weight")(wanted, parameters, weights)
    assert float(loss) == pytest.approx(-np.concatenate(each).mean(), rel=1e-4)
    nats, points = nats_of(trained.predict_on_batch, Mixture(2, 2, "full", True), batches)
    assert nats == pytest.approx(-np.concatenate(each).sum(), rel=1e-4)
    assert points == sum(len(writing.strokes) - 1 for writing in corpus.test[:3])


def test_the_baseline_is_one_gaussian_and_a_rate_of_the_pen(corpus):
    moves = np.concatenate([standardised(w.strokes, UNIT)[1:] for w in corpus.train]).astype("float64")
    fitted = independent(corpus.train, UNIT)
    one = multivariate_normal(moves[:, :2].mean(axis=0), np.cov(moves[:, :2].T, ddof=0))
    lifted = (moves[:, 2].sum() + 1) / (len(moves) + 2)
    expected = one.logpdf(moves[:5, :2]) + bernoulli(lifted).logpmf(moves[:5, 2].astype(int))
    found = Mixture(1, 2, "full", True).log_prob(np.tile(fitted, (5, 1)), moves[:5])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_pen_draws_in_the_units_of_the_data_and_lies_still_behind_the_text():
    mixture = Mixture(2, 2, "full", True)
    rng = np.random.default_rng(0)
    parameters, noise = rng.normal(size=(4, 13)).astype("float32"), rng.random((4, 5)).astype("float32")
    ended = np.array([[0], [1], [0], [1]], "float32")
    outputs = np.concatenate([parameters, ended], axis=1)
    pen = Pen(mixture, UNIT, ends=True)
    drawn = np.asarray(pen.draw(outputs, noise))
    plain = np.asarray(mixture.draw(parameters, noise))
    np.testing.assert_array_equal(drawn[1::2], [[0, 0, 1]] * 2)
    np.testing.assert_allclose(drawn[::2], plain[::2] * [UNIT, UNIT, 1], rtol=1e-6)
    # of densities in other units: p(y) = p(y / u) / u²
    expected = np.where(ended[:, 0] == 1, 0, mixture.log_prob(parameters, plain) - 2 * np.log(UNIT))
    np.testing.assert_allclose(pen.log_prob(outputs, plain * [UNIT, UNIT, 1]), expected, rtol=1e-4)


def test_the_saved_network_is_the_trained_one_on_texts_and_natural_units(corpus, network, trained):
    writing, longer = corpus.test[:2]
    strokes = standardised(writing.strokes, UNIT)[None]
    numbers = numbers_of([writing.text], network.names)[0][None]
    expected = trained.predict_on_batch({"text": numbers, "strokes": strokes})[0]
    given = {
        "text": keras.ops.convert_to_tensor([writing.text, longer.text * 2]),
        "strokes": keras.ops.convert_to_tensor(np.repeat(writing.strokes[None], 2, axis=0)),
    }
    found = network.serving().predict_on_batch(given)[0]  # beside a longer text: padded
    np.testing.assert_allclose(found[:, :-1], expected, rtol=1e-4, atol=1e-5)
    assert set(np.unique(found[:, -1])) <= {0, 1}


# -- the walk


def test_a_walk_goes_to_the_end_without_a_step_back_or_a_character_passed_over():
    def walked(*places, ended=True, text="a bc"):
        return walks(
            Written(text, np.zeros((len(places) + 1, 3)), np.eye(len(text) + 1)[list(places)], ended)
        )

    assert walked(0, 0, 1, 2, 3, 3, 4)
    assert walked(0, 2, 3)  # nothing is drawn for a space
    assert not walked(0, 2, 3, 2, 3)
    assert not walked(0, 1, 3)
    assert not walked(0, 2, 3, ended=False)


# -- the data


def test_points_lie_at_even_distances_and_on_corners_and_ends():
    vertices = np.array([[0, 0], [10, 0], [10, 5], [30, 30], [33, 30]], float)
    starts, ends = (np.isin(np.arange(5), marked) for marked in ([0, 3], [2, 4]))
    corner = np.isin(np.arange(5), [1, 2, 4])
    points, lifted = hershey.resampled(vertices, corner, ends, starts, distance=2.4)
    assert {(0, 0), (10, 0), (10, 5), (30, 30), (33, 30)} <= set(map(tuple, points.tolist()))
    np.testing.assert_allclose(points[:5, 0], [0, 2.5, 5, 7.5, 10])
    np.testing.assert_array_equal(np.flatnonzero(lifted), [6, 8])


def test_letters_of_the_fonts_keep_their_form_on_a_straight_line():
    font = hershey.font_of("futural")
    still = hershey.written("L", font, _Still())
    (line,) = [np.array(line, float) for line in _outline("L")][:1]
    np.testing.assert_allclose(lines_of(still)[0][[0, -1]], line[[0, -1]] - line[0], atol=1e-5)


class _Still:
    """A hand that does not shake."""

    def normal(self, mean, deviation, shape=None):
        return np.zeros(np.shape(deviation) if shape is None else shape)


def _outline(character):
    from HersheyFonts import HersheyFonts

    fonts = HersheyFonts()
    fonts.load_default_font("futural")
    return [list(stroke) for stroke in fonts.strokes_for_text(character)]


def test_without_the_package_of_the_fonts_one_sentence_names_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "HersheyFonts", None)
    assert_refused(capsys, ["--limit", "2"], "needs the package Hershey-Fonts")


def test_texts_are_the_same_again_and_no_word_is_in_two_parts(corpus):
    again = data.read(options("--limit", "24", "--seed", "1"))
    assert again.fingerprint() == corpus.fingerprint()
    words = hershey.words_by_part()
    assert not set(words["train"]) & set(words["test"])
    for name, part in corpus.parts().items():
        said = {word.lower() for writing in part for word in writing.text.split()}
        assert said <= set(words[name])
    assert corpus.fingerprint() != hershey.read("futural", limit=24).fingerprint()


def drawings(count, seed=0, dtype="int16"):
    rng = np.random.default_rng(seed)
    made = np.empty(count, object)
    for at in range(count):
        made[at] = rng.integers(-9, 9, (rng.integers(2, 9), 3)).astype(dtype)
        made[at][:, 2] = made[at][:, 2] > 4
    return made


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("drawings") / "some.npz"
    np.savez(path, train=drawings(30), valid=drawings(5, 1), test=drawings(6, 2))
    return path


def test_files_of_sketch_rnn_are_read_without_running_anything(npz, tmp_path):
    read = data.read(options("--dataset", str(npz)))
    assert [len(part) for part in read.parts().values()] == [30, 5, 6]
    for writing, array in zip(read.test, drawings(6, 2), strict=True):
        np.testing.assert_array_equal(writing.strokes[:, 2], array[:, 2])
        assert np.abs(writing.strokes[1:, :2] - array[1:, :2]).max() <= 0.5
        assert np.any(writing.strokes[1:, :2] != array[1:, :2])  # the noise on whole numbers
        np.testing.assert_array_equal(writing.strokes[0, :2], 0)
    assert not read.has_texts
    alone = tmp_path / "alone.npz"
    np.savez(alone, train=drawings(40, dtype="float32"))
    split = data.read(options("--dataset", str(alone)))
    assert sum(map(len, split.parts().values())) == 40
    assert all(np.array_equal(w.strokes[1:, :2], np.round(w.strokes[1:, :2])) for w in split.train)


class _Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_a_file_that_would_run_something_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    evil = np.empty(1, object)
    evil[0] = _Attack()
    np.savez("evil.npz", train=evil)
    assert_refused(capsys, ["--dataset", "evil.npz"], "it would run")
    assert not os.path.exists("attacked")
    with open("evil.npz", "rb") as file:
        assert b"attacked" in file.read()  # it would have


def iam_folder(folder, forms, lists=None):
    """A folder like that of IAM-OnDB, with two lines for each form; the text of the second is known."""
    for form in forms:
        place = folder / "lineStrokes-all" / "lineStrokes" / form[:3] / form[:7]
        texts = folder / "ascii-all" / "ascii" / form[:3] / form[:7]
        place.mkdir(parents=True, exist_ok=True)
        texts.mkdir(parents=True, exist_ok=True)
        texts.joinpath(f"{form}.txt").write_text(f"OCR:\n\nnonsense\n\nCSR:\n\nA  line of\n{form} & more\n")
        for line in (1, 2):
            points = [(100 + line, 50), (103, 55), (103, 58)], [(110, 40), (111, 42)]
            strokes = "".join(
                f'<Stroke>{"".join(f"""<Point x="{x}" y="{y}" time="1.0"/>""" for x, y in stroke)}</Stroke>'
                for stroke in points
            )
            place.joinpath(f"{form}-{line:02}.xml").write_text(
                f"<?xml version='1.0'?><WhiteboardCaptureSession><StrokeSet>{strokes}</StrokeSet>"
                "</WhiteboardCaptureSession>"
            )
    for name, listed in (lists or {}).items():
        (folder / name).write_text("".join(f" {form}\n" for form in listed))
    return folder


def test_lines_of_iam_ondb_are_read_with_their_texts_and_lists(tmp_path):
    forms = ["a01-000u", "a01-001w", "b02-003z", "c05-010x"]
    lists = {"trainset.txt": forms[:2], "testset_v.txt": forms[2:3], "testset_f.txt": forms[3:]}
    read = data.read(options("--dataset", str(iam_folder(tmp_path, forms, lists))))
    assert [len(part) for part in read.parts().values()] == [4, 2, 2]
    assert [writing.text for writing in read.test] == ["A line of", "c05-010x & more"]
    expected = [[0, 0, 0], [2, 5, 0], [0, 3, 1], [7, -18, 0], [1, 2, 1]]
    np.testing.assert_array_equal(read.test[0].strokes, expected)
    assert "lists" in read.split and read.has_texts


def test_forms_of_iam_ondb_are_split_by_a_hash_where_there_are_no_lists(tmp_path):
    forms = [f"a{number:02}-000u" for number in range(30)]
    read = data.read(options("--dataset", str(iam_folder(tmp_path, forms))))
    said = [{w.text.split()[0] for w in part if w.text != "A line of"} for part in read.parts().values()]
    assert sum(map(len, said)) == 30 and not said[0] & said[2]


# -- drawings


@pytest.fixture
def written():
    lines = [np.array([[0.0, 0], [8.25, 3], [7, 9.5]]), np.array([[20.0, -3]])]
    return Written('i < "l" & é', strokes_of(lines), np.eye(12)[[0, 5, 11]], True)


def test_an_svg_file_is_read_back_as_it_was_written(written, tmp_path):
    shown.save_svg(written, tmp_path / "a.svg")
    read = shown.read_svg(tmp_path / "a.svg")
    assert read.text == written.text
    np.testing.assert_allclose(read.strokes, written.strokes, atol=1e-4)


def test_pictures_show_every_line_and_a_film_ends_with_the_whole(written, tmp_path):
    shown.save_png(written, tmp_path / "a.png")
    shown.save_film(written, tmp_path / "a.gif")
    shown.save_walk(written, tmp_path / "walk.png")
    whole = np.array(Image.open(tmp_path / "a.png").convert("L"))
    assert whole.shape[1] > whole.shape[0]
    columns = np.flatnonzero((whole < 128).any(axis=0)) / whole.shape[1]
    assert columns.min() < 0.1 and columns.max() > 0.9  # the line, and the dot far from it
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == len(written.strokes)
        film.seek(film.n_frames - 1)
        last = np.array(film.convert("L"))
    assert np.abs((last < 128) ^ (whole < 128)).mean() < 0.01
    assert Image.open(tmp_path / "walk.png").height > 100


# -- runs


def test_a_run_measures_its_nats_beside_the_baseline(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["main_measure"]["name"] == "test_nats_per_point"
    assert {"baseline_nats", "test_walks"} <= metrics.keys()
    points = [len(writing.strokes) - 1 for writing in data.read(options("--limit", "24")).test]
    assert metrics["test_nats"] == pytest.approx(metrics["test_nats_per_point"] * np.mean(points), rel=1e-5)
    assert (run / "written.png").exists() and (run / "walk.png").exists()


@pytest.mark.usefixtures("already_loaded")
def test_a_run_writes_in_a_style(run, scribe, tmp_path, capsys):
    svg, walk = str(tmp_path / "a.svg"), str(tmp_path / "walk.png")
    arguments = ["write", str(run), "on", "--length", "12", "--seed", "5", "--style", "2"]
    assert handwriting.main([*arguments, "--out", svg, "--walk", walk]) == 0
    assert capsys.readouterr().out == f"{svg}\n"
    style = data.read(options("--limit", "24")).test[2]
    expected = scribe.write(["on"], 5, length=12, style=style)[0]
    found = shown.read_svg(svg)
    assert found.text == "on"
    np.testing.assert_allclose(found.strokes, expected.strokes, atol=1e-3)
    assert expected.walk.shape == (len(expected.strokes) - 1, 3)
    # from the first point of its own on, not from the last of the style
    np.testing.assert_array_equal(expected.strokes[0, :2], 0)
    assert len(expected.strokes) <= 12
    other = scribe.write(["on"], 5, length=12, style=found)[0]
    assert other.strokes.shape != expected.strokes.shape or not np.allclose(other.strokes, expected.strokes)


SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments", "PIL")))  # none can be imported
import numpy as np
import tensorflow as tf
write = tf.saved_model.load(sys.argv[1]).signatures["write"]
told = write(
    text=tf.constant(["on", "a no"]), prompt=tf.zeros((2, 0, 3)), prompt_lengths=tf.zeros(2, tf.int32),
    length=tf.constant(12), temperature=tf.constant(1.0), seed=tf.constant(5),
)
np.save(sys.argv[2], told["tokens"].numpy())
"""


def test_the_saved_model_writes_where_only_tensorflow_is(run, scribe, tmp_path):
    subprocess.run(
        [sys.executable, "-c", SERVE, run / "saved_model", tmp_path / "strokes.npy"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    strokes = np.load(tmp_path / "strokes.npy")
    assert strokes.shape == (2, 12, 3) and np.isin(strokes[..., 2], (0, 1)).all()
    for each, row in zip(scribe.write(["on", "a no"], 5, length=12), strokes, strict=True):
        np.testing.assert_allclose(each.strokes[1:, :2], row[: len(each.strokes) - 1, :2], atol=1e-4)


def test_a_run_is_read_as_the_network_writes_a_text(run, scribe):
    read = reading.read(scribe.model, read_config(run), ["on", "a no"])
    written = scribe.write(["on"], reading.SEED)[0]
    assert len(read.tokens[0]) == len(written.strokes) - 1
    assert {character for row in read.tokens for character in row} <= set("on a⏎")
    np.testing.assert_array_equal(read.labels["place in the text"][0], written.walk.argmax(axis=1))
    np.testing.assert_allclose(read.inputs["strokes"][0, : len(read.tokens[0])], written.strokes[:-1])


def test_a_network_that_hears_no_text_draws(npz):
    corpus = data.read(options("--dataset", str(npz)))
    network = Network((), corpus.unit, 5, options())
    model = network.training()
    batches = StrokeBatches(corpus.test, (), corpus.unit, 6)
    nats, points = nats_of(model.predict_on_batch, Mixture(2, 2, "full", True), batches)
    expected = [
        by_hand(row, batches.strokes[at], 2)
        for given, _, _ in batches.once()
        for row, at in zip(model.predict_on_batch(given), batches.order, strict=True)
    ]
    assert nats == pytest.approx(-np.concatenate(expected).sum(), rel=1e-4)
    assert points == sum(map(len, expected))
    drawn = Scribe(network.serving(), False, corpus.unit, 5, 2, 0.0).write(["", ""], seed=1)
    assert [each.strokes.shape for each in drawn] == [(6, 3)] * 2
    assert np.abs(drawn[0].strokes - drawn[1].strokes).max() > 0


@pytest.mark.usefixtures("already_loaded")
def test_bad_input_is_one_sentence(run, npz, tmp_path, capsys):
    (tmp_path / "bad.npz").write_text("no archive")
    (tmp_path / "bad.svg").write_text("<svg/>")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "wide.npz", train=np.zeros((3, 4, 5)))
    np.savez(tmp_path / "still.npz", **dict.fromkeys(("train", "valid", "test"), np.zeros((1, 4, 3))))
    np.savez(tmp_path / "far.npz", train=np.full((3, 4, 3), [np.nan, 0, 0]))
    assert_refused(capsys, ["--dataset", "none.npz"], "is neither hershey")
    assert_refused(capsys, ["--dataset", tmp_path / "bad.npz"], "is no file of drawings")
    assert_refused(capsys, ["--dataset", tmp_path / "wide.npz"], "not (points, 3)")
    assert_refused(capsys, ["--dataset", tmp_path / "still.npz"], "the pen never moves")
    assert_refused(capsys, ["--dataset", tmp_path / "far.npz"], "movements that are not finite")
    assert_refused(capsys, ["--dataset", tmp_path / "empty"], "has no lines for its train part")
    assert_refused(capsys, ["--fonts", "cuneiform"], "there is no font 'cuneiform'")
    assert_refused(capsys, ["write", run], "say which")
    assert_refused(capsys, ["write", run, "naïve"], "does not know 'ï'")
    assert_refused(capsys, ["write", run, " "], "There is no text to write")
    assert_refused(capsys, ["write", run, "on", "--out", "on.jpg"], "is not a file named .svg, .png, .gif")
    assert_refused(capsys, ["write", run, "on", "--style", tmp_path / "bad.svg"], "is no SVG file")
    assert_refused(capsys, ["write", run, "on", "--style", "999"], "expected 0 to 23")
    assert_refused(capsys, ["write", run, "on", "--out", tmp_path / "bad.svg" / "on.svg"], "on.svg")


# -- a reader


def test_a_reader_drops_repetitions_and_blanks_and_counts_wrong_characters():
    reader = Recogniser(names_of("ab "), UNIT)
    a, b, space = 2, 3, 4
    assert reader._text(np.array([0, a, a, 0, a, b, space, space, b, 0])) == "aab b"
    reader.read = lambda strokes: ["ab", "a b"]
    assert reader.errors([], ["ab", "bb bb"]) == pytest.approx(3 / 7)


def test_a_reader_learns_what_a_letter_looks_like_and_does_not_see_the_padding():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    shapes = {"a": np.tile([1.0, 0, 0], (8, 1)), "b": np.tile([0.0, 1, 0], (8, 1))}
    writings = []
    for _ in range(320):
        text = "".join(rng.choice(["a", "b"], rng.integers(1, 4)))
        moves = np.concatenate([shapes[character] for character in text])
        moves[7::8, 2] = 1
        moves[:, :2] += rng.normal(0, 0.1, (len(moves), 2))
        writings.append(Writing(text, np.concatenate([[[0, 0, 0]], moves])))
    reader = Recogniser(names_of("ab"), 1.0)
    reader.train(writings[:256], 25, 0)
    strokes, texts = [w.strokes for w in writings[256:]], [w.text for w in writings[256:]]
    assert reader.errors(strokes, texts) < 0.1
    together, alone = reader.read(strokes[:8]), [reader.read([row])[0] for row in strokes[:8]]
    assert together == alone
