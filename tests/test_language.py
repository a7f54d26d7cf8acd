"""The language task from the outside, the lecture's program, and a text as streams."""

import collections
import html.parser
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras
import min_char_rnn
import tensorflow as tf

import keras_gates
from experiments.common.errors import InputError
from experiments.common.fitting import compile_model
from experiments.common.options import looked_up
from experiments.inspect import __main__ as inspect
from experiments.language import __main__ as language
from experiments.language import cache, data, reading, tokens
from experiments.language.measures import measure
from experiments.language.network import Network, reset_states
from experiments.language.problem import measured, prepare
from experiments.language.streams import Streams
from keras_gates.kernels import operation

ROOT = Path(__file__).parents[1]
TINY = [
    *("--units", "8", "--embedding", "6", "--batch-size", "4", "--steps", "20"),
    *("--epochs", "2", "--learning-rate", "0.02"),
]


@pytest.fixture(scope="module")
def text():
    """Sentences of few words, with numbers that cannot be foretold."""
    rng = random.Random(0)
    return "".join(f"the cat sat on mat {rng.randrange(10)}.\n" for _ in range(300))


@pytest.fixture(scope="module")
def file(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "cats.txt"
    path.write_text(text, encoding="utf-8")
    return path


def trained_on(file, tmp_path_factory, *more):
    out = tmp_path_factory.mktemp("runs") / "cats"
    assert language.main(["--dataset", str(file), *TINY, "--epochs", "6", *more, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def run(file, tmp_path_factory):
    return trained_on(file, tmp_path_factory)


@pytest.fixture(scope="module")
def words_run(file, tmp_path_factory):
    """Of words, of which the ninth and all rarer ones are unknown."""
    return trained_on(file, tmp_path_factory, "--tokens", "words", "--vocabulary", "8")


def options(*arguments):
    arguments = [*map(str, arguments)]
    return language.train_parser(looked_up(arguments, "--preset")).parse_args(arguments)


def losses(run):
    lines = (run / "history.csv").read_text().splitlines()
    return [line.rpartition(",")[0] for line in lines]  # the last column is the time


def fails(capsys, *arguments):
    """What a command that cannot be done says, in one line."""
    assert language.main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


# -- the data


def test_a_text_is_split_in_its_order(file, text):
    for split, shares in {"90/10": (0.85, 0.9), "90/5/5": (0.9, 0.95)}.items():
        corpus = data.read(str(file), split)
        assert "".join(corpus.parts().values()) == text
        assert [len(corpus.train), len(corpus.train + corpus.validation)] == [
            int(share * len(text)) for share in shares
        ]


def test_a_folder_is_its_files_in_order(tmp_path):
    (tmp_path / "b.txt").write_text("second\r\nline\n" * 9, encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "한글.txt").write_text("첫째\n" * 9, encoding="utf-8")
    (tmp_path / ".hidden").write_bytes(b"\xff")
    corpus = data.read(str(tmp_path), "90/10")
    assert "".join(corpus.parts().values()) == "첫째\n" * 9 + "\n" + "second\nline\n" * 9


def test_the_standard_library_is_split_by_modules():
    corpus = data.read("python", "90/10", limit=5000)
    assert [len(part) for part in corpus.parts().values()] == [5000] * 3
    assert "modules" in corpus.split


def test_characters_have_the_numbers_that_the_saved_layer_gives_them():
    text = "naïve 한글 text,\n\ttabs\x00 and 🙂 … naïve"
    alphabet = tokens.vocabulary_of(text, 2, 1000)
    assert "ï" in alphabet
    assert "한" not in alphabet
    for written in (text, "only 未知"):
        saved = tokens.vectorizer(alphabet, "characters")([written]).numpy()[0]
        assert tokens.numbers(written, alphabet).tolist() == saved.tolist()
    assert tokens.vectorizer(alphabet, "characters").get_vocabulary() == list(tokens.names(alphabet))


STRANGE = [
    "",
    " ",
    "a",
    "the  cat, sat!\n\n    def f_1(x):\t# 'no'\r\n",
    "나는 간다. 너도!",
    "\x00\ufffd🙂 é…  ",
]


@pytest.mark.parametrize("text", STRANGE)
def test_words_and_marks_joined_are_the_text(text):
    words = tokens.split(text, "words")
    assert "".join(words) == text
    assert words == re.findall(r" ?\w+| +|\W", text)


def test_a_combining_mark_is_part_of_its_word():
    assert tokens.split("nai\u0308ve e\u0301tude", "words") == ["nai\u0308ve", " e\u0301tude"]


def test_words_have_the_numbers_that_the_saved_layer_gives_them():
    text = "the cat, the 猫 and the cat\n"
    known = tokens.vocabulary_of(tokens.split(text, "words"), 1, 4)
    assert known == sorted([" the", " cat", "\n", " and"])
    for each in (text, *STRANGE[1:]):
        saved = tokens.vectorizer(known, "words")([each]).numpy()[0]
        assert tokens.numbers(tokens.split(each, "words"), known).tolist() == saved.tolist()


def test_the_most_frequent_tokens_are_known():
    assert tokens.vocabulary_of("abbccdd", 2, 10) == ["b", "c", "d"]
    assert tokens.vocabulary_of("abbccdddd", 1, 2) == ["b", "d"]
    assert tokens.vocabulary_of("ab", 2, 10) == ["a", "b"]


@pytest.mark.parametrize(("rows", "steps", "passes"), [(1, 7, 1), (3, 5, 1), (4, 3, 3), (2, 100, 1)])
def test_a_row_goes_on_where_it_stopped(rows, steps, passes):
    ids = np.arange(101)
    streams = Streams(ids, rows, steps, epochs_per_pass=passes)
    read = [batch for epoch in range(passes) for batch in streams.epoch(epoch)]
    inputs, targets = (np.concatenate(part, axis=1) for part in zip(*read, strict=True))
    assert (targets == inputs + 1).all()
    assert (np.diff(inputs, axis=1) == 1).all()
    assert inputs[:, 0].tolist() == [row * (100 // rows) for row in range(rows)]
    left_over = 100 // rows - inputs.shape[1]
    assert 0 <= left_over < min(steps, 100 // rows) * passes


# -- training


def test_a_run_folder_is_whole(run):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.json", "history.csv", "samples.txt"),
        *("learning_curve.png", "model.keras", "saved_model", "README.md", "checkpoint.npz"),
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_loss"] < 1.5  # 16 characters: ln 16 = 2.8
    assert metrics["test_bits_per_character"] == pytest.approx(metrics["test_loss"] / np.log(2))
    assert metrics["test_perplexity"] == pytest.approx(np.exp(metrics["test_loss"]))
    samples = (run / "samples.txt").read_text()
    assert re.findall("--- temperature (.*)", samples) == ["0.2", "0.5", "0.8", "1.0", "1.2"]
    assert json.loads((run / "config.json").read_text())["split"].startswith("in order: ")


@pytest.mark.parametrize("kind", tokens.KINDS)
def test_the_test_text_is_read_with_one_state_from_end_to_end(kind, run, words_run, file):
    run = words_run if kind == "words" else run
    test = data.read(str(file), "90/10").test
    model = keras.saving.load_model(run / "model.keras")
    probabilities = model.predict(tf.constant([test]), verbose=0)[0]
    ids = model.get_layer(kind)([test]).numpy()[0]
    nats = -np.log(probabilities[np.arange(len(ids) - 1), ids[1:]])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_loss"] == pytest.approx(nats.mean(), rel=1e-4)
    assert metrics["test_perplexity"] == pytest.approx(np.exp(nats.mean()), rel=1e-4)
    assert metrics["test_accuracy"] == pytest.approx((probabilities[:-1].argmax(-1) == ids[1:]).mean())
    first = len(test[0] if kind == "characters" else re.match(r" ?\w+| +|\W", test)[0])
    bits = nats.sum() / np.log(2) / (len(test) - first)
    assert metrics["test_bits_per_character"] == pytest.approx(bits, rel=1e-4)
    assert metrics["test_unknown"] == pytest.approx((ids[1:] == tokens.UNKNOWN).mean())
    assert (metrics["test_unknown"] > 0) == (kind == "words")


def test_the_state_is_carried_over_the_pieces_of_a_long_text(monkeypatch):
    keras.utils.set_random_seed(0)
    network = Network(9, options(*TINY))
    ids = np.random.default_rng(0).integers(2, 9, 500)
    whole = measure(network, ids, np.ones_like(ids))
    monkeypatch.setattr("experiments.language.measures.STEPS", 7)
    in_pieces = measure(network, ids, np.ones_like(ids))
    assert in_pieces == pytest.approx(whole, rel=1e-5)
    monkeypatch.setattr("experiments.language.measures.ROW", 200)
    assert measure(network, ids, np.ones_like(ids))["test_rows"] == 2


def cached_by_definition(states, targets, size, theta):
    """p_cache of each target, step by step: equation 3 of Grave, Joulin & Usunier 2017, with cosines."""
    probabilities = []
    for now, wanted in enumerate(targets):
        mass = collections.Counter()
        for then in range(max(0, now - size), now):
            cosine = states[now] @ states[then] / np.linalg.norm(states[now]) / np.linalg.norm(states[then])
            mass[targets[then]] += np.exp(theta * cosine)
        probabilities.append(mass[wanted] / mass.total() if mass else 0.0)
    return probabilities


@pytest.mark.parametrize("size", [1, 6, 100])
def test_the_cache_is_the_definition_in_pieces_and_in_rows(size):
    rng = np.random.default_rng(size)
    states, targets = rng.normal(size=(2, 40, 3)), rng.integers(0, 4, (2, 40))
    known, thetas = cache.Cache(size), [0.5, 8.0]
    pieces = [known.probability(states[:, at], targets[:, at], thetas) for at in (slice(7), slice(7, 40))]
    for row in range(2):
        for number, theta in enumerate(thetas):
            given = np.concatenate([piece[number, row] for piece in pieces])
            expected = cached_by_definition(states[row], targets[row], size, theta)
            np.testing.assert_allclose(given, expected, rtol=1e-10)


def test_a_cache_is_tuned_on_the_validation_part_and_finds_again_what_a_text_repeats(monkeypatch):
    """Each part repeats a sequence of its own, which no training shows."""
    keras.utils.set_random_seed(0)
    network = Network(30, options(*TINY))
    validation, test = (np.tile(np.random.default_rng(part).integers(2, 30, 20), 12) for part in (1, 2))
    monkeypatch.setattr("experiments.language.measures.STEPS", 50)
    metrics = measured(network, validation, test, np.ones_like(test), 100)
    assert metrics["test_loss"] > 3
    assert metrics["test_loss_with_cache"] < 1.5
    assert metrics["cache"] == {"size": 100, "sharpness": max(cache.SHARPNESS), "share": max(cache.SHARES)}
    assert "cache" not in measured(network, validation, test, np.ones_like(test), 0)


def test_the_kernels_serve_the_training(file, monkeypatch):
    """A layer that carries its state takes the fused path too, in `fit` and in its validation."""
    if not operation.available():
        pytest.skip("no compiler")
    problem = prepare(options("--dataset", file, *TINY))
    compile_model(problem.model, options(*TINY), 10, problem.optimizer)
    training, run = [], operation.run
    monkeypatch.setattr(operation, "run", lambda *given: training.append(given[-1]) or run(*given))
    problem.model.fit(problem.train.once(), validation_data=problem.validation.once(), verbose=0)
    assert set(training) == {True, False}


@pytest.mark.parametrize(
    "more",
    [
        ["--cell", "gru", "--layers", "2", "--dropout", "0.3"],
        ["--cell", "peephole", "--tied"],
        ["--embedding", "0", "--optimizer", "adagrad"],
        ["--split", "90/5/5", "--clip-each", "5", "--initial-deviation", "0.1"],
    ],
)
def test_options_give_a_model_that_learns_and_writes(more, file, tmp_path, capsys):
    out = tmp_path / "run"
    assert language.main(["--dataset", str(file), *TINY, "--epochs", "1", *more, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test_loss"] < np.log(18)
    capsys.readouterr()
    assert language.main(["write", str(out), "the", "--length", "5"]) == 0
    assert len(capsys.readouterr().out) == 3 + 5 + 1


def test_tied_vectors_are_those_of_the_input():
    network = Network(9, options("--tied", *TINY))
    model = network.carrying(2)
    shapes = [tuple(weight.shape) for weight in model.weights]
    assert shapes.count((9, 6)) == 1
    assert (8, 9) not in shapes
    with pytest.raises(InputError, match="--embedding 0"):
        Network(9, options("--tied", *TINY, "--embedding", "0"))


KILLED_IN_ITS_SECOND_EPOCH = """
import os, signal, sys
from experiments.common.fitting import Keeper
from experiments.language.__main__ import main
def die(keeper, batch, logs=None):
    if keeper.history and batch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
Keeper.on_train_batch_end = die
main(sys.argv[1:])
"""


def test_a_killed_run_resumes_to_the_same_bits(file, tmp_path):
    """With dropout, whose masks are drawn anew in every step, and a state that is carried."""
    long = ["--dataset", str(file), *TINY, "--epochs", "4", "--patience", "4", "--dropout", "0.2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert language.main([*long, "--out", str(whole)]) == 0
    died = subprocess.run(
        [sys.executable, "-c", KILLED_IN_ITS_SECOND_EPOCH, *long, "--out", str(killed)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    checkpoint = tmp_path / "killed.partial" / "checkpoint.npz"
    assert checkpoint.exists()
    assert not killed.exists()
    assert language.main(["--resume", str(killed)]) == 0
    assert losses(killed) == losses(whole)
    for name in ("model.keras", "samples.txt"):
        assert (killed / name).stat().st_size
    assert (killed / "samples.txt").read_text() == (whole / "samples.txt").read_text()
    for mine, other in zip(
        *(keras.saving.load_model(r / "model.keras").get_weights() for r in (killed, whole)), strict=True
    ):
        np.testing.assert_array_equal(mine, other)


# -- the lecture's program


@pytest.fixture
def in_float64():
    """As NumPy computes: in float32 a rounding error grows beyond any bound within some steps."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def lecture(path, text):
    """The problem of the preset on a text, compiled, and the numbers of its training part."""
    path.write_text(text, encoding="utf-8")
    keras.utils.set_random_seed(0)
    chosen = options("--preset", "min-char-rnn", "--dataset", path)
    problem = prepare(chosen)
    compile_model(problem.model, chosen, 1, problem.optimizer)
    return problem, tokens.numbers(data.read(str(path), chosen.split).train, problem.labels[2:])


def named(variables):
    w_xh, w_hh, b_h, w_hy, b_y = (variable.numpy() for variable in variables)
    return {"w_xh": w_xh.T, "w_hh": w_hh.T, "b_h": b_h, "w_hy": w_hy.T, "b_y": b_y}


def test_min_char_rnn_begins_as_in_the_lecture(tmp_path, text):
    problem, _ = lecture(tmp_path / "text.txt", text)
    weights = named(problem.model.trainable_variables)
    size = len(problem.labels)
    shapes = {name: weight.shape for name, weight in weights.items()}
    assert shapes == {
        "w_xh": (100, size),
        "w_hh": (100, 100),
        "b_h": (100,),
        "w_hy": (size, 100),
        "b_y": (size,),
    }
    assert not weights["b_h"].any()
    assert not weights["b_y"].any()
    for name in ("w_xh", "w_hh", "w_hy"):
        assert weights[name].std() == pytest.approx(0.01, rel=0.1)
        assert abs(weights[name].mean()) < 0.001
    assert problem.train.shape == (1, 25)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_min_char_rnn_equals_the_transcription_over_200_steps(seed, in_float64, tmp_path):
    """From the same weights on, with which training on this text does not amplify rounding errors."""
    problem, ids = lecture(tmp_path / "text.txt", "ab" * 3000)
    rng = np.random.default_rng(seed)
    for variable in problem.model.trainable_variables:
        if len(variable.shape) == 2:
            variable.assign(rng.normal(size=variable.shape[::-1]).T * 0.01)
    want, weights = min_char_rnn.train(ids, named(problem.model.trainable_variables), 200)
    got = [25 * loss for loss in trained(problem, 200)]
    np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)
    for name, weight in named(problem.model.trainable_variables).items():
        np.testing.assert_allclose(weight, weights[name], atol=1e-5, rtol=0, err_msg=name)


def trained(problem, steps):
    """Yield the loss of each of so many steps, of epoch after epoch."""
    for number, batch in zip(range(steps), problem.train.endless(), strict=False):
        if number % len(problem.train) == 0:
            reset_states(problem.model)
        problem.model.reset_metrics()
        yield float(problem.model.train_on_batch(*batch)[0])


def test_min_char_rnn_equals_the_transcription_in_each_of_200_steps(in_float64, tmp_path):
    """On a text of words, where training is chaotic: the slightest difference of the weights grows to that of
    other weights altogether in 200 steps, in NumPy too. So each step starts from what ours has reached.
    """
    source = (ROOT / "README.md").read_text(encoding="utf-8")[:4000]
    problem, ids = lecture(tmp_path / "text.txt", source)
    variables, optimizer = problem.model.trainable_variables, problem.model.optimizer
    (layer,) = (each for each in problem.model.layers if getattr(each, "stateful", False))
    losses = trained(problem, 200)
    state, start = np.zeros(100), 0
    for step in range(200):
        if start + 26 > len(ids):
            state, start = np.zeros(100), 0
        weights = named(variables)
        squares = {name: 25**2 * value for name, value in named(optimizer._accumulators).items()}
        loss, gradients, state = min_char_rnn.loss_and_gradients(
            ids[start : start + 25], ids[start + 1 : start + 26], state, weights
        )
        start += 25
        assert 25 * next(losses) == pytest.approx(loss, abs=1e-9), step
        for name, weight in named(variables).items():
            gradient = np.clip(gradients[name], -5, 5)
            expected = weights[name] - 0.1 * gradient / np.sqrt(squares[name] + gradient**2 + 1e-8)
            np.testing.assert_allclose(weight, expected, atol=1e-9, rtol=0, err_msg=f"{name}, step {step}")
        np.testing.assert_allclose(layer.states[0].numpy()[0], state, atol=1e-9)
        state = layer.states[0].numpy()[0]
    assert len(problem.train) < 200  # the text was begun again


# -- write and score


def written(capsys, run, *arguments):
    assert language.main(["write", str(run), *map(str, arguments)]) == 0
    return capsys.readouterr().out.removesuffix("\n")


def test_what_is_written_goes_on_from_the_prompt(run, capsys):
    texts = [written(capsys, run, "the cat", "--length", 30, "--seed", seed) for seed in (1, 1, 2)]
    assert all(text.startswith("the cat") for text in texts)
    assert all(len(text) == len("the cat") + 30 for text in texts)
    assert texts[0] == texts[1] != texts[2]
    sure = [written(capsys, run, "the cat", "--top-k", 1, "--seed", seed, "--length", 20) for seed in (1, 2)]
    assert sure[0] == sure[1]


def test_unknown_characters_are_heard_and_shown(run, capsys, tmp_path):
    assert len(written(capsys, run, "한글", "--length", 10)) == 12
    strange = tmp_path / "strange.txt"
    strange.write_text("the 猫 sat", encoding="utf-8")
    assert language.main(["score", str(run), str(strange)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [character for character, _ in lines] == list("the 猫 sat")
    assert max(lines[1:], key=lambda line: line[1])[0] in ("猫", " ")


@pytest.mark.parametrize("kind", tokens.KINDS)
def test_a_text_of_another_script_is_all_unknown_and_scored_as_such(kind, run, words_run, capsys, tmp_path):
    run, hangul = words_run if kind == "words" else run, tmp_path / "hangul.txt"
    hangul.write_text("나는간다," * 300, encoding="utf-8")  # longer than what is read at a time
    assert language.main(["score", str(run), str(hangul)]) == 0
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert "".join(token for token, _ in found) == hangul.read_text(encoding="utf-8")
    bits = [bits for _, bits in found[1:]]
    model = keras.saving.load_model(run / "model.keras")
    unknown = np.full((1, len(found)), tokens.UNKNOWN)
    assert model.get_layer(kind)([hangul.read_text(encoding="utf-8")]).numpy().tolist() == unknown.tolist()
    assert np.isfinite(bits).all()
    probabilities = model.predict(tf.constant(["猫" * 5 if kind == "characters" else "猫," * 5]), verbose=0)
    first = -np.log2(probabilities[0, :4, tokens.UNKNOWN])
    np.testing.assert_allclose(bits[:4], first, rtol=1e-3)


def test_an_unknown_word_is_never_written(words_run, capsys):
    model = keras.saving.load_model(words_run / "model.keras")
    unknown = model.predict(tf.constant(["the cat sat on mat"]), verbose=0)[0, -1, tokens.UNKNOWN]
    assert unknown > 0.3, "the test would tell nothing"
    text = written(capsys, words_run, "the cat", "--length", 200, "--temperature", 5)
    assert "[UNK]" not in text
    assert "\ufffd" not in text
    for how in "greedy", "beam", keras_gates.Sampling(5.0, seed=1):
        found = keras_gates.write(model, prompt=["the cat"], length=50, how=how, head=tokens.HEAD)
        assert found.tokens.min() > tokens.UNKNOWN
    assert " cat" in tokens.split(text, "words")
    samples = (words_run / "samples.txt").read_text()
    assert "[UNK]" not in samples


def test_words_are_coloured_by_their_surprise(words_run, text, tmp_path, capsys):
    some = tmp_path / "some.txt"
    some.write_text(text[:300], encoding="utf-8")
    assert language.main(["score", str(words_run), str(some)]) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [word for word, _ in lines] == re.findall(r" ?\w+| +|\W", text[:300])
    model = keras.saving.load_model(words_run / "model.keras")
    probabilities = model.predict(tf.constant([text[:300]]), verbose=0)[0]
    ids = model.get_layer("words")([text[:300]]).numpy()[0]
    want = -np.log2(probabilities[np.arange(len(ids) - 1), ids[1:]])
    np.testing.assert_allclose([bits for _, bits in lines[1:]], want, rtol=1e-3, atol=1e-4)
    per_character = want.sum() / (300 - len(lines[0][0]))
    assert float(printed.err.split()[0]) == pytest.approx(per_character, abs=2e-4)


class Spans(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.inside = "", False

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "span"

    def handle_data(self, content):
        self.text += content if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


def test_a_file_is_coloured_by_surprise(run, file, text, tmp_path, capsys):
    some = tmp_path / "some.txt"
    some.write_text(text[:1500] + "<b>&zzz", encoding="utf-8")
    assert language.main(["score", str(run), str(some)]) == 0
    printed = capsys.readouterr()
    bits = [bits for _, bits in map(json.loads, printed.out.splitlines())]
    assert bits[0] is None
    model = keras.saving.load_model(run / "model.keras")
    probabilities = model.predict(tf.constant([some.read_text()]), verbose=0)[0]
    ids = model.get_layer("characters")([some.read_text()]).numpy()[0]
    want = -np.log2(probabilities[np.arange(len(ids) - 1), ids[1:]])
    np.testing.assert_allclose(bits[1:], want, rtol=1e-3, atol=1e-4)
    assert f"{np.mean(want):.2f}" in printed.err
    assert language.main(["score", str(run), str(some), "--format", "html"]) == 0
    page = Spans()
    page.feed(capsys.readouterr().out)
    assert page.text == some.read_text()
    assert language.main(["score", str(run), str(some), "--format", "terminal"]) == 0
    coloured = capsys.readouterr().out
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == some.read_text() + "\n"


WRITE = """
import sys
sys.modules.update(dict.fromkeys(["keras", "keras_gates", "experiments"]))  # importing them raises
import tensorflow as tf
write = tf.saved_model.load(sys.argv[1]).signatures["write"]
options = dict(length=tf.constant(20), temperature=tf.constant(0.8), seed=tf.constant(7))
print(write(prompt=tf.constant([sys.argv[2]]), **options)["text"].numpy()[0].decode(), end="")
"""


def test_the_saved_model_takes_a_string_and_writes_one(run, capsys):
    """In a process that has TensorFlow alone, and what the command writes."""
    served = subprocess.run(
        [sys.executable, "-c", WRITE, run / "saved_model", "the cat"],
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = ["--length", 20, "--temperature", 0.8, "--seed", 7]
    assert "the cat" + served.stdout == written(capsys, run, "the cat", *arguments)


# -- inside


def test_labels_of_python_and_of_other_text():
    code = "def f(x):\n    # it's (odd)\n    return ')' + g[x]\n"
    of = reading._labels(code)
    inside = {what: "".join(c for c, on in zip(code, rows, strict=True) if on) for what, rows in of.items()}
    assert inside["inside quotes"] == "')'"
    assert inside["inside a comment"] == "# it's (odd)"
    assert inside["bracket depth"] == "(x)[x]"
    assert inside["indentation depth"] == "".join(code.splitlines(keepends=True)[1:])
    other = 'He said "no (way" (once\n'
    quoted, comment = reading.quotes_and_comments(other)
    assert "".join(c for c, on in zip(other, quoted, strict=True) if on) == '"no (way"'
    assert not comment.any()
    assert reading.bracket_depth("((a)b)))c", [False] * 9).tolist() == [1, 2, 2, 2, 1, 1, 0, 0, 0]
    assert reading.indentation("\ta\n  b\nc").tolist() == [8, 8, 8, 2, 2, 2, 2, 0]


def test_quotes_and_comments_of_what_looks_like_python_and_is_not():
    code = 'def f((:\n    x = \'a # b\' + "c  # it\'s\n      """two\n lines""" `q` x\'\'\n   )] don\'t\n'
    quoted, comment = reading.quotes_and_comments(code)
    inside = ["".join(c for c, on in zip(code, each, strict=True) if on) for each in (quoted, comment)]
    assert inside == ['\'a # b\'"""two\n lines"""`q`\'\'', "# it's"]


@pytest.mark.parametrize("kind", tokens.KINDS)
def test_a_run_is_inspected_on_texts_of_any_kind(kind, run, words_run, tmp_path, capsys):
    run = words_run if kind == "words" else run
    texts = ["def f(x):\n    return 'a' + (x)  # so\n", 'He said "no" (once\n', "aaaa"]
    out = tmp_path / "inside"
    assert inspect.main([str(run), *texts, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for what in ("inside quotes", "inside a comment", "bracket depth", "indentation", "position in the line"):
        assert what in said
    assert {"index.html", "text-1.html", "text-2.html", "text-3.html"} <= {p.name for p in out.iterdir()}


# -- what cannot be


def test_bad_input_ends_with_one_sentence(run, tmp_path, capsys):
    empty, one, latin = (tmp_path / name for name in ("empty.txt", "one.txt", "latin.txt"))
    empty.write_text("")
    one.write_text("a")
    latin.write_bytes(b"caf\xe9" * 50)
    out = tmp_path / "run"
    for path, expected in {empty: "is empty", one: "too short", latin: "not UTF-8"}.items():
        assert expected in fails(capsys, "--dataset", path, "--out", out)
    assert "neither python" in fails(capsys, "--dataset", tmp_path / "none.txt", "--out", out)
    assert "no text" in fails(
        capsys, "--dataset", (tmp_path / "dir").mkdir() or tmp_path / "dir", "--out", out
    )
    assert "unrecognized" in fails(capsys, "--bidirectional", "--out", out)
    assert not list(tmp_path.glob("run*"))
    assert "prompt is empty" in fails(capsys, "write", run, "")
    assert "prompt is not UTF-8" in fails(capsys, "write", run, os.fsdecode(b"caf\xe9"))
    assert "at least 2" in fails(capsys, "score", run, one)
    one.write_text("\n")
    assert "has 1 characters; at least 2" in fails(capsys, "score", run, one)
    assert "has 0 characters; at least 2" in fails(capsys, "score", run, empty)
    one.write_text("unbroken" * 20)
    assert "has 1 words; at least 2" in fails(capsys, "--dataset", one, "--tokens", "words", "--out", out)
    assert "not UTF-8" in fails(capsys, "score", run, latin)
    assert "not a finished run" in fails(capsys, "write", tmp_path / "nowhere", "a")


@pytest.mark.parametrize("content", ["a" * 60, "나는 간다. 너도 간다. " * 20])
def test_a_text_of_one_character_and_one_of_hangul_are_learnt(content, tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text(content, encoding="utf-8")
    out = tmp_path / "run"
    assert language.main(["--dataset", str(path), *TINY, "--epochs", "1", "--out", str(out)]) == 0
    text = written(capsys, out, content[0], "--length", 8)
    assert text.rpartition("\n")[2].startswith(content[0]) or content[0] in text
    assert "\ufffd" not in content
