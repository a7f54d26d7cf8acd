"""Texts as people have them: forms of files, columns, splits, and what cannot be read in one sentence."""

import gzip
import json
import sys
import zipfile

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

from experiments.common import parts, scripts, tables
from experiments.common.batches import MOST_STEPS, Batches, pad, runs_within
from experiments.common.errors import InputError
from experiments.sentiment import data as reviews

TEXTS = [f"film number {at}, quite {'good' if at % 3 else 'bad'}" for at in range(60)]
LABELS = ["up" if at % 3 else "down" for at in range(60)]
PAIRS = list(zip(TEXTS, LABELS, strict=True))


def joined(rows, delimiter="\t", line_end="\n"):
    return "".join(delimiter.join(row) + line_end for row in rows)


def objects():
    return [{"id": at, "text": text, "label": label} for at, (text, label) in enumerate(PAIRS)]


def quoted(rows):
    return joined(([f'"{field}"' for field in row] for row in rows), ",")


def parquet(path, columns):
    write = pytest.importorskip("pyarrow.parquet", reason="needs keras_gates[tables]").write_table
    write(sys.modules["pyarrow"].table(columns), path)


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)


def folder_of(path, more=""):
    for at, (text, label) in enumerate(PAIRS):
        (path / label).mkdir(parents=True, exist_ok=True)
        (path / label / f"{at}.txt").write_text(text + more, encoding="utf-8")


# a name, what writes it, and what the command line says of it
FORMS = {
    "a quoted table": ("a.csv", lambda p: p.write_text(quoted([("text", "label"), *PAIRS])), {}),
    "semicolons": ("a.csv", lambda p: p.write_text(joined([("text", "label"), *PAIRS], ";")), {}),
    "upper case": ("A.TSV", lambda p: p.write_text(joined([("text", "label"), *PAIRS])), {}),
    "Windows": (
        "a.txt",
        lambda p: p.write_bytes(joined([("text", "label"), *PAIRS], "\t", "\r\n").encode()),
        {},
    ),
    "other columns": ("a.tsv", lambda p: p.write_text(joined([("review", "mood"), *PAIRS])), {}),
    "no header": ("a.tsv", lambda p: p.write_text(joined(PAIRS)), {}),
    "no header, said": (
        "a.tsv",
        lambda p: p.write_text(joined(PAIRS)),
        {"header": False, "text_column": "1"},
    ),
    "columns by number": (
        "a.tsv",
        lambda p: p.write_text(joined([("a", "b", "c"), *((x, x[::-1], y) for x, y in PAIRS)])),
        {"text_column": "1", "label_column": "c"},
    ),
    "gzip": (
        "a.csv.gz",
        lambda p: p.write_bytes(gzip.compress(quoted([("text", "label"), *PAIRS]).encode())),
        {},
    ),
    "zip": ("a.zip", lambda p: zipped(p, a_tsv=joined([("text", "label"), *PAIRS])), {}),
    "UTF-16": (
        "a.tsv",
        lambda p: p.write_bytes(joined([("text", "label"), *PAIRS]).encode("utf-16")),
        {"encoding": "utf-16"},
    ),
    "JSON": ("a.json", lambda p: p.write_text(json.dumps(objects())), {}),
    "JSON lines": ("a.jsonl", lambda p: p.write_text("\n".join(map(json.dumps, objects()))), {}),
    "JSON lines called JSON": ("a.JSON", lambda p: p.write_text("\n".join(map(json.dumps, objects()))), {}),
    "Parquet": ("a.parquet", lambda p: parquet(p, {"text": TEXTS, "label": LABELS}), {}),
    "a folder per label": ("a", folder_of, {}),
}


@pytest.mark.parametrize(("name", "write", "form"), FORMS.values(), ids=FORMS)
def test_a_form_is_read_as_it_was_written(name, write, form, tmp_path):
    write(tmp_path / name)
    texts, labels = tables.read_labelled(tmp_path / name, tables.Form(**form))
    assert sorted(zip(texts, labels, strict=True)) == sorted(PAIRS)


HEAD = "text\tlabel\n"
REFUSED = {
    "too few fields": (
        "a.tsv",
        HEAD + "a b\tup\nonly text\n",
        "line 3: the label is empty, as the row has 1",
    ),
    "too many fields": ("a.tsv", HEAD + "a b\tup\tx\n", "line 2: field 3 ('x') is one too many: expected 2"),
    "no such column": ("a.tsv", HEAD, "no column review for --text-column; found text, label"),
    "two that may be labels": (
        "b.tsv",
        "text\tstars\tfunny\n" + joined([(text, label, label) for text, label in PAIRS]),
        "the column may be stars or funny; say which with --label-column",
    ),
    "open quotes": ("a.csv", 'text,label\n"a b,up\nc d,down\n', "line 2: not a row of a table"),
    "another encoding": ("a.csv", "text,label\né,up\n".encode("cp1252"), "name its encoding with --encoding"),
    "no archive": ("a.csv.gz", b"text,label\n", "a.csv.gz cannot be unpacked"),
    "half an archive": ("a.csv.gz", gzip.compress(b"text,label\n" * 9)[:-9], "a.csv.gz cannot be unpacked"),
    "no zip": ("a.zip", b"text,label\n", "a.zip cannot be unpacked"),
    "no Parquet": ("a.parquet", b"text,label\n", "a.parquet is not a Parquet file"),
    "half JSON": ("a.json", '[{"text": "a"', "a.json is not JSON"),
    "a list for a label": ("a.json", '[{"text": "a", "label": [1]}]', "entry 1: the label is empty"),
    "unknown": ("a.xls", "", "is not a .csv, .tsv"),
}


@pytest.mark.parametrize(("name", "content", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_is_one_sentence(name, content, sentence, tmp_path):
    if "Parquet" in sentence:
        pytest.importorskip("pyarrow", reason="needs keras_gates[tables]")
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    form = tables.Form(text_column="review" if "review" in sentence else None)
    with pytest.raises(InputError) as error:
        tables.read_labelled(path, form)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_archive_of_several_files_is_one_sentence(tmp_path):
    zipped(tmp_path / "a.zip", a_csv="", b_csv="")
    with pytest.raises(InputError, match=r"must hold one file, not 2 \(a.csv, b.csv\): unpack it"):
        tables.read_labelled(tmp_path / "a.zip")


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"needs pyarrow: pip install keras_gates\[tables\]"):
        tables.read_labelled(tmp_path / "a.parquet")


def test_a_quote_in_a_tsv_swallows_no_rows(tmp_path):
    path = tmp_path / "a.tsv"
    rows = [('he said "no', "down"), ("fine film", "up"), ('12" single', "up"), ("bad film", "down")]
    path.write_text(joined([("text", "label"), *rows]))
    assert tables.read_labelled(path) == (
        [text for text, _ in rows],
        [label for _, label in rows],
    )


def test_bad_rows_are_counted_if_they_may_be_left_out(tmp_path, capsys):
    path = tmp_path / "a.tsv"
    path.write_text(joined([("text", "label"), *PAIRS, ("only text",), ("a b", "up", "x"), ("c d", "")]))
    texts, labels = tables.read_labelled(path, tables.Form(skip_bad_rows=True))
    assert (texts, labels) == (TEXTS, LABELS)
    said = capsys.readouterr().out
    assert "3 of 63 rows are left out; the first: " in said
    assert "line 62: the label is empty" in said


def test_a_few_empty_texts_are_left_out_and_many_are_an_error(tmp_path, capsys):
    path = tmp_path / "a.tsv"
    rows = [(str(at), f"film {at}", LABELS[at % 60]) for at in range(300)]
    path.write_text(joined([("id", "document", "label"), *rows, ("300", "", "up")]))
    texts, labels = tables.read_labelled(path)
    assert list(zip(texts, labels, strict=True)) == [(text, label) for _, text, label in rows]
    said = capsys.readouterr().out
    assert "1 of 301 rows are left out, as their text is empty" in said
    assert "takes the texts from the column document" in said
    path.write_text(joined([("text", "label"), *PAIRS, ("", "up")]))
    with pytest.raises(InputError, match="line 62: the text is empty"):
        tables.read_labelled(path)


# -- splits that the data bring


def test_own_splits_are_kept_and_what_is_absent_is_split_off(tmp_path, capsys):
    for name, rows in (("train", PAIRS[:40]), ("dev", PAIRS[40:50]), ("test", PAIRS[50:])):
        (tmp_path / f"my_{name}.tsv").write_text(joined([("text", "label"), *rows]))
    (tmp_path / "README.txt").write_text("about the training data")
    paths = [str(tmp_path / f"my_{name}.tsv") for name in ("train", "dev", "test")]
    of_folder = reviews.load(str(tmp_path))
    of_files = reviews.load(paths[0], validation=paths[1], test=paths[2])
    for corpus in (of_folder, of_files):
        assert [sorted(part.texts) for part in corpus.parts().values()] == [
            *map(sorted, (TEXTS[:40], TEXTS[40:50], TEXTS[50:]))
        ]
    without_validation = reviews.load(paths[0], test=paths[2])
    assert without_validation.test.texts == TEXTS[50:]
    of_train = without_validation.train.texts + without_validation.validation.texts
    assert sorted(of_train) == sorted(TEXTS[:40])
    assert without_validation.validation.texts


def test_a_text_of_the_test_part_is_in_no_other(tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(joined([("text", "label"), *PAIRS]))
    (tmp_path / "test.tsv").write_text(joined([("text", "label"), *PAIRS[:20]]))
    corpus = reviews.load(str(tmp_path))
    assert not {*corpus.train.texts, *corpus.validation.texts} & {*TEXTS[:20]}
    assert len(corpus.train) + len(corpus.validation) == 40
    assert "texts of the train part are left out" in capsys.readouterr().out


def test_folders_per_label_in_folders_per_part(tmp_path):
    folder_of(tmp_path / "train")
    folder_of(tmp_path / "test", more=" enough")
    corpus = reviews.load(str(tmp_path))
    assert corpus.names == ("down", "up")
    assert len(corpus.test) == 60


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *[("en_ewt-ud-train.conllu", "train"), ("ratings_test.txt", "test"), ("train.csv.gz", "train")],
        *[
            ("esp.train", "train"),
            ("esp.testa", "validation"),
            ("esp.testb", "test"),
            ("dev.bio", "validation"),
        ],
        *[("README", None), ("latest.txt", None), ("train-test.csv", None)],
    ],
)
def test_names_that_say_their_part(name, part):
    assert parts.part_of(name) == part


def test_the_beginning_of_a_name_chooses_among_several(tmp_path):
    for name in ("esp.train", "esp.testb", "ned.train", "ned.testb", "espx.train"):
        (tmp_path / name).write_text("")
    found = parts.parts_in(tmp_path / "esp", lambda path: True)
    assert found == {"train": tmp_path / "esp.train", "test": tmp_path / "esp.testb"}
    with pytest.raises(InputError, match=r"more than one test file: esp.testb and ned.testb"):
        parts.parts_in(tmp_path, lambda path: True)


# -- scripts and lengths


@pytest.mark.parametrize(
    ("texts", "by_character"),
    [
        (["이 영화 정말 재미있다 ㅋㅋ"], True),
        (["这部电影很好看"], True),
        (["この映画はとても面白い"], True),
        (["a good film", "un film à voir 🎬", "Фильм хороший"], False),
        (["Parasite (기생충) is a film by Bong Joon-ho"], False),
        (["1999 !!!"], False),
    ],
)
def test_which_texts_are_read_by_character(texts, by_character):
    assert scripts.are_by_character(texts) == by_character


def test_runs_are_bounded_in_number_and_in_padded_steps():
    lengths = [3, 9, 2, 2, 2, 2, 100, 1, 1]
    runs = [lengths[run] for run in runs_within(lengths, 3, 20)]
    assert runs == [[3, 9], [2, 2, 2], [2], [100], [1, 1]]
    assert list(runs_within([], 3, 20)) == []


def test_long_examples_are_read_in_small_batches():
    import tensorflow as tf

    lengths = [5] * 40 + [MOST_STEPS // 3] * 7
    signature = (tf.TensorSpec((None, None), tf.int32),)
    batches = Batches(
        lengths, lambda at: (pad([np.ones(lengths[index]) for index in at]),), signature, batch_size=32
    )
    shapes = [batch.shape for (batch,) in batches.once()]
    assert sum(rows for rows, _ in shapes) == 47
    assert max(rows * steps for rows, steps in shapes) <= MOST_STEPS
    assert len(shapes) == batches.once().cardinality().numpy()
