"""Files of texts are scored piece by piece: each row once, as `predict` would, whatever is interrupted."""

import contextlib
import csv
import functools
import importlib.util
import io
import json
import socket
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras

import keras_gates
from experiments.common import cluster, words
from experiments.common.errors import InputError
from experiments.score import __main__ as command
from experiments.score.pieces import FORMATS, Csv, JsonLines, Parquet, files_of
from experiments.score.scorer import Scorer, items
from experiments.sentiment import __main__ as sentiment
from experiments.sentiment.network import network, serving

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs keras_gates[scale]")
TEXTS = ["a good film", "", "bad, bad; 'worst'", 'two\nlines "quoted"', "영화 좋아요", "  ", "good " * 30] * 5
LABELS = ["negative", "positive"]


def pyarrow():
    return pytest.importorskip("pyarrow.parquet", reason="needs keras_gates[tables]"), sys.modules["pyarrow"]


def write_csv(path, texts):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(texts)])


def write_jsonl(path, texts):
    rows = [json.dumps({"id": at, "text": text or None}) for at, text in enumerate(texts)]
    path.write_text("\n".join(rows), encoding="utf-8")


def write_parquet(path, texts):
    parquet, arrow = pyarrow()
    table = arrow.table({"id": range(len(texts)), "text": [text or None for text in texts]})
    parquet.write_table(table, path, row_group_size=12)


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": write_parquet}


def read_rows(folder, suffix):
    """Pairs of id and (label, probability) of all parts, in order."""
    rows = []
    for part in sorted(folder.glob(f"part-*{suffix}")):
        if suffix == ".parquet":
            found = pyarrow()[0].read_table(part).to_pylist()
        elif suffix == ".csv":
            with part.open(encoding="utf-8", newline="") as file:
                found = list(csv.DictReader(file))
        else:
            found = [json.loads(line) for line in part.read_text(encoding="utf-8").splitlines()]
        rows += found
    return [
        (int(row["id"]), row["predicted_label"] or None, float(row["predicted_probability"] or -1))
        for row in rows
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with random weights, of which only what scoring reads is there."""
    folder = tmp_path_factory.mktemp("run")
    options = sentiment.train_parser().parse_args(["--units", "3", "--embedding", "4"])
    vectorizer = words.vectorizer(TEXTS, 20, "words", 1)
    keras.utils.set_random_seed(3)
    model = serving(network(vectorizer.vocabulary_size(), 2, options), vectorizer)
    keras_gates.export(model, folder / "saved_model")
    config = {"task": "sentiment", "options": {"cell": "lstm"}, "labels": LABELS}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


LOADED = functools.cache(keras_gates.load)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """Loading takes longer than all else that these tests do."""
    monkeypatch.setattr(keras_gates, "load", LOADED)


@pytest.fixture
def in_this_process(monkeypatch):
    """The command without Ray: its actor is called here."""

    def scored(ray, run, given, text, folder, actors):
        scorer = Scorer(run, text, folder)
        for item in given:
            done = scorer({name: np.array([value]) for name, value in item.items()})
            yield {name: value for name, (value,) in done.items()}

    monkeypatch.setattr(command, "library_of_ray", lambda *names: None)
    monkeypatch.setattr(command, "connected", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(command, "scored", scored)


def predicted(run, texts, monkeypatch, capsys):
    """What `predict` prints for texts, each of which it takes as one line."""
    lines = "".join(" ".join(text.split("\n")) + "\n" for text in texts)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    capsys.readouterr()
    assert sentiment.main(["predict", str(run)]) == 0
    answers = [line.partition("\t") for line in capsys.readouterr().out.splitlines()]
    return [(label or None, float(probability or -1)) for label, _, probability in answers]


def check_each_once(rows, expected):
    assert [at for at, *_ in rows] == list(range(len(expected)))
    assert [label for _, label, _ in rows] == [label for label, _ in expected]
    np.testing.assert_allclose([share for *_, share in rows], [share for _, share in expected], atol=6e-5)


@pytest.mark.parametrize("suffix", WRITERS)
def test_each_row_is_answered_once_as_predict_answers_it(
    run, suffix, in_this_process, tmp_path, monkeypatch, capsys
):
    WRITERS[suffix](tmp_path / f"texts{suffix}", TEXTS)
    arguments = [str(run), "--input", str(tmp_path / f"te*{suffix}"), "--output", str(tmp_path / "out")]
    assert command.main([*arguments, "--rows", "4", "--price-per-hour", "2"]) == 0
    said = capsys.readouterr().out
    assert "35 rows in" in said and "10 rows have no text" in said and "A million texts cost" in said
    check_each_once(read_rows(tmp_path / "out", suffix), predicted(run, TEXTS, monkeypatch, capsys))
    assert not list(tmp_path.glob("*.partial"))
    if suffix == ".parquet":
        assert len(pyarrow()[0].read_table(tmp_path / "out")) == len(TEXTS), "the folder is a table"


def test_a_killed_command_continues_and_a_different_one_does_not(run, in_this_process, tmp_path, capsys):
    write_csv(tmp_path / "texts.csv", TEXTS)
    arguments = [str(run), "--input", str(tmp_path / "texts.csv"), "--output", str(tmp_path / "out")]
    with pytest.MonkeyPatch.context() as patch:
        scored = command.scored

        def stopped(*given):
            for number, done in enumerate(scored(*given)):
                yield done
                if number == 2:
                    raise KeyboardInterrupt

        patch.setattr(command, "scored", stopped)
        assert command.main([*arguments, "--rows", "4"]) == 130
    assert "The same command continues." in capsys.readouterr().err
    kept = {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out.partial").glob("part-*")}
    assert len(kept) == 3 and not (tmp_path / "out").exists()

    assert command.main([*arguments, "--rows", "5"]) == 2
    assert "is not the unfinished output" in capsys.readouterr().err
    assert command.main([*arguments, "--rows", "4"]) == 0
    assert "3 of 9 parts are there already." in capsys.readouterr().out
    assert (
        kept.items()
        <= {part.name: part.stat().st_mtime_ns for part in (tmp_path / "out").glob("part-*")}.items()
    )
    assert len(read_rows(tmp_path / "out", ".csv")) == len(TEXTS)

    assert command.main([*arguments, "--rows", "4"]) == 2
    assert "out exists; give --output another name." in capsys.readouterr().err


def test_a_text_of_a_megabyte_is_a_piece_of_its_own_and_is_answered(run, tmp_path):
    texts = ["good", "bad " * 2**18, "é" * 2**24, "good"]
    write_csv(tmp_path / "texts.csv", texts)
    pieces = Csv.cut(str(tmp_path / "texts.csv"), "text", 100)
    assert [piece.rows for piece in pieces] == [2, 1, 1]
    (item,) = items(pieces[:1], [0])
    Scorer(str(run), "text", str(tmp_path))({name: [value] for name, value in item.items()})
    assert [at for at, *_ in read_rows(tmp_path, ".csv")] == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"id,words\n1,x\n", "has no column text; found id, words; name it with --text-column."),
        ("a.csv", b"id,text\n1,caf\xe9\n", "a.csv, line 2: not UTF-8 text (byte 5)."),
        ("a.csv", b"id,text\n1\n", "a.csv, line 2: expected 2 fields, got 1."),
        ("a.csv", b'id,text\n1,"open\n', "a.csv, line 2: not a row of a table"),
        ("a.csv", b"text,predicted_label\n", "rename it."),
        ("a.csv", b"", "has no column text; found nothing"),
        ("a.csv", b"text\n", "There are no rows"),
        ("a.jsonl", b'{"text": 3}', "line 1: expected text to be a string or null, got 3."),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "line 2: not an object."),
        ("a.jsonl", b'{"text": "a"\n', "line 1: not JSON"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "half a surrogate pair"),
        ("a.jsonl", b'{"text": "a"}\n{"x": 1}\n', "line 2 has no column text; found x"),
        ("a.txt", b"a", "is not a .csv, .jsonl, .parquet file."),
    ],
)
def test_bad_files_are_refused_before_anything_is_written(
    run, name, content, sentence, in_this_process, tmp_path, capsys
):
    (tmp_path / name).write_bytes(content)
    given = [str(run), "--input", str(tmp_path / name), "--output", str(tmp_path / "out")]
    assert command.main(given) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["damaged", "binary", "not UTF-8", "another column"])
def test_bad_parquet_files_are_refused(kind, tmp_path):
    parquet, arrow = pyarrow()
    path, raw = tmp_path / "a.parquet", arrow.array([b"a", b"\xff"], arrow.binary())
    if kind == "damaged":
        path.write_bytes(b"PAR1")
    else:
        column = raw.view(arrow.string()) if kind == "not UTF-8" else raw
        parquet.write_table(arrow.table({"x" if kind == "another column" else "text": column}), path)
    sentence = {
        "damaged": "not a readable Parquet file",
        "binary": "expected the column text to hold strings, it holds binary",
        "not UTF-8": "the column text is not UTF-8 text",
        "another column": "has no column text; found x",
    }[kind]
    with pytest.raises(InputError, match=sentence):
        Parquet.cut(str(path), "text", 10)


def test_files_are_all_of_one_format_and_exist(tmp_path):
    (tmp_path / "a.csv").write_text("text\n")
    (tmp_path / "b.jsonl").write_text("")
    assert files_of([f"{tmp_path}/*.csv", f"{tmp_path}/a.csv"]) == ([f"{tmp_path}/a.csv"], Csv)
    with pytest.raises(InputError, match="There is no file"):
        files_of([f"{tmp_path}/c*.csv"])
    with pytest.raises(InputError, match=r"are \.csv and \.jsonl"):
        files_of([f"{tmp_path}/*"])


@pytest.mark.parametrize("most", [1, 2, 100])
def test_rows_are_cut_where_they_end(most, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffid,text\r\n1,"a ""b""\n\nc"\r\n\r\n2,d\u2028e\n3,\n4,f'.encode())
    pieces = Csv.cut(str(path), "text", most)
    texts = [text for piece in pieces for text in Csv.texts(piece, Csv.read(piece), "text")]
    assert texts == ['a "b"\n\nc', "d\u2028e", "", "f"]
    assert [piece.rows for piece in pieces] == {1: [1] * 4, 2: [2, 2], 100: [4]}[most]

    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a\xe2\x80\xa8b"}\r\n\n{"text": null}\n{"text": "c"}')
    pieces = JsonLines.cut(str(path), "text", most)
    assert [JsonLines.texts(piece, JsonLines.read(piece), "text") for piece in pieces] == {
        1: [["a\u2028b"], [None], ["c"]],
        2: [["a\u2028b", None], ["c"]],
        100: [["a\u2028b", None, "c"]],
    }[most]

    path = tmp_path / "a.parquet"
    write_parquet(path, TEXTS)
    pieces = Parquet.cut(str(path), "text", most)
    texts = [text for piece in pieces for text in Parquet.texts(piece, Parquet.read(piece), "text")]
    assert texts == [text or None for text in TEXTS]


def test_every_format_is_written(tmp_path):
    assert FORMATS.keys() == WRITERS.keys()


def test_ray_is_imported_by_scoring_alone_and_asked_for_in_a_sentence(run, tmp_path, monkeypatch, capsys):
    assert "ray" not in sys.modules or importlib.util.find_spec("ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    write_csv(tmp_path / "texts.csv", TEXTS)
    given = [str(run), "--input", str(tmp_path / "texts.csv"), "--output", str(tmp_path / "out")]
    assert command.main(given) == 2
    assert "experiments.score needs Ray: pip install keras_gates[scale]" in capsys.readouterr().err


@needs_ray
def test_a_cluster_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", 5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=f"{address} did not answer in 5 seconds"):
            cluster.connected(address).__enter__()


@needs_ray
def test_a_machine_that_is_lost_costs_no_row(run, tmp_path, monkeypatch, capsys):
    from ray.cluster_utils import Cluster

    texts = TEXTS * 20
    write_csv(tmp_path / "texts.csv", texts)
    expected = predicted(run, texts, monkeypatch, capsys)
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        lost = machines.add_node(num_cpus=1)
        partial = tmp_path / "out.partial"

        def lose():
            while len(list(partial.glob("part-*"))) < 3:
                time.sleep(0.1)
            machines.remove_node(lost, allow_graceful=False)

        threading.Thread(target=lose, daemon=True).start()
        given = [str(run), "--input", str(tmp_path / "texts.csv"), "--output", str(tmp_path / "out")]
        assert command.main([*given, "--rows", "7", "--address", machines.address]) == 0
    finally:
        machines.shutdown()
    check_each_once(read_rows(tmp_path / "out", ".csv"), expected)
