"""Texts as people have them: forms of files, columns, splits, and what cannot be read in one sentence."""

import collections
import contextlib
import gzip
import io
import itertools
import json
import os
import shutil
import sys
import warnings
import zipfile

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras
import scipy.sparse
import sklearn.metrics
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from experiments.common import figures, parts, scripts, tables, words
from experiments.common.batches import MOST_STEPS, Batches, pad, runs_within
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line
from experiments.sentiment import __main__ as sentiment
from experiments.sentiment import data as reviews
from experiments.sentiment import linear, network, problem
from experiments.sentiment.ensemble import evaluate
from experiments.tagging.data import conll
from keras_gates.layers.text import HashedNGrams

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


def test_names_of_tables():
    names = ["a.csv", "b/A.CSV.GZ", "a.zip", "a.csv.zip", "a.jsonl", "a.parquet", "a.gz", "a.xls", "csv", "a"]
    assert [name for name in names if tables.is_table(name)] == names[:6]


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


# -- tagged sentences


BLANKS = "\t_" * 6  # columns of a .conllu file that are not given
TREEBANK = "\n".join(
    [
        "# text = Don't",
        "1-2\tDon't" + "\t_" * 8,
        "1\tDo\tdo\tAUX\tVB" + "\t_" * 5,
        "2\tn't\tnot\tPART\tRB" + "\t_" * 5,
        "2.1\tgo" + "\t_" * 8,
        "",
        "",
    ]
)


@pytest.mark.parametrize(
    "names",
    [
        ("train.txt", "dev.txt", "test.txt"),
        ("esp.train", "esp.testa", "esp.testb"),
        ("news-train.bio", "news-valid.bio", "news-test.bio"),
        ("TRAIN.CONLL", "DEV.CONLL", "TEST.CONLL"),
        ("xx_tiny-ud-train.conllu", "xx_tiny-ud-dev.conllu", "xx_tiny-ud-test.conllu"),
        ("train.conll.gz", "dev.conll.gz", "test.conll.gz"),
    ],
    ids=lambda names: names[0],
)
def test_tagged_files_are_found_by_their_names(names, tmp_path):
    for at, name in enumerate(names):
        lines = f"the D\nfilm{at} N\n\nfine J\n"
        if name.endswith(".conllu"):
            lines = f"1\tthe\t_\tD{BLANKS}\n2\tfilm{at}\t_\tN{BLANKS}\n\n1\tfine\t_\tJ{BLANKS}\n"
            (tmp_path / name.replace(".conllu", ".txt")).write_text("the raw text")
        content = lines.encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    (tmp_path / "README").write_text("a train and a test")
    corpus = conll.read_folder(tmp_path)
    assert corpus.names == ("D", "J", "N")
    read = [[words for words, _ in part] for part in corpus.parts().values()]
    assert read == [[["the", f"film{at}"], ["fine"]] for at in range(3)]


def test_what_a_tagged_corpus_lacks_is_split_off_its_training_sentences(tmp_path):
    sentences = [f"word{at} N\n\n" for at in range(100)]
    for name, some in (("train.txt", sentences), ("test.txt", ["other N\n"])):
        (tmp_path / name).write_text("".join(some))
    of_folder = conll.read_folder(tmp_path)
    of_file = conll.read_folder(tmp_path / "train.txt", test=str(tmp_path / "test.txt"))
    alone = conll.read_folder(tmp_path / "train.txt")
    for corpus, parts_of_train in ((of_folder, 2), (of_file, 2), (alone, 3)):
        read = [[words[0] for words, _ in part] for part in corpus.parts().values()]
        assert sorted(itertools.chain(*read[:parts_of_train])) == sorted(f"word{at}" for at in range(100))
        assert all(read)
    assert [words for words, _ in of_file.test] == [["other"]]


def test_multiword_tokens_and_empty_nodes_are_passed_over_and_said(tmp_path, capsys):
    path = tmp_path / "train.conllu"
    path.write_text(TREEBANK)
    assert conll.read_file(path) == [(["Do", "n't"], ["AUX", "PART"])]
    assert "2 multiword tokens and empty nodes are passed over" in capsys.readouterr().out


def test_only_the_tags_of_a_treebank_file_are_replaced():
    assert conll.with_tags(TREEBANK, ["X", "Y"], "upos") == TREEBANK.replace("AUX", "X").replace("PART", "Y")
    assert "\tVB\t" not in conll.with_tags(TREEBANK, ["X", "Y"], "xpos")


def test_a_file_without_lines_between_its_sentences_is_cut(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("word N\n" * 2500)
    assert [len(words) for words, _ in conll.read_file(tmp_path / "a.txt")] == [1000, 1000, 500]
    assert "1 sentences have more than 1,000 words and are cut" in capsys.readouterr().out


def test_tagged_files_in_another_encoding(tmp_path):
    path = tmp_path / "train.txt"
    path.write_bytes("é N\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8: byte 0 cannot be read; name its encoding with --enc"):
        conll.read_file(path)
    assert conll.read_file(path, encoding="latin-1") == [(["é"], ["N"])]
    with pytest.raises(InputError, match="--encoding latin-99 is none that Python knows"):
        conll.read_file(path, encoding="latin-99")


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


# -- a run on texts that are read by character, with a rare label, whose trace fails


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    rows = [
        (f"영화 {at} 번 정말 {'좋아요' if at % 5 else '싫어요'}", "긍정" if at % 5 else "부정")
        for at in range(200)
    ]
    (path / "reviews.tsv").write_text(
        joined([("id", "document", "label"), *((str(at), *row) for at, row in enumerate(rows))])
    )
    out, said = path / "run", io.StringIO()
    options = ["--units", "3", "--embedding", "4", "--epochs", "2", "--serving-length", "50", "--trace"]
    options += ["--beside-ngrams", "2"]

    def fail(*_):
        raise ValueError("no picture today")

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(sentiment, "look", fail)
        arguments = ["--dataset", path / "reviews.tsv", *options, "--class-weights", "balanced", "--out", out]
        assert sentiment.main([*map(str, arguments)]) == 0
    assert "The run is complete, but it could not be traced: no picture today." in said.getvalue()
    return out


def test_what_a_run_says_of_itself(run):
    config, metrics, metadata = (
        json.loads((run / name).read_text(encoding="utf-8"))
        for name in ("config.json", "metrics.json", "saved_model/metadata.json")
    )
    assert config["options"]["tokens"] == "characters"
    assert config["options"]["bidirectional"]
    assert config["options"]["epochs"] == 2, "as it was given"
    assert (metadata["classes"], metadata["max_length"]) == (["긍정", "부정"], 50)
    corpus = reviews.load(config["options"]["dataset"])
    share = np.mean(np.equal(corpus.test.labels, 0))
    assert metrics["majority_accuracy"] == pytest.approx(share)
    assert metrics["test_accuracy_of_ngrams"] == 1, "the last word tells"
    assert 0 <= metrics["test_accuracy_of_network"] <= 1
    card = (run / "README.md").read_text(encoding="utf-8")
    for said in (
        "`긍정`, `부정`",
        f"| majority accuracy | {share:.4f} |",
        "--class-weights=balanced",
        "and 50 later",
        f"python -m experiments.sentiment predict {run} <",
    ):
        assert said in card


def test_the_saved_model_reads_characters_with_tensorflow_alone(run):
    texts = ["영화 정말 좋아요", "싫어요!", "", "unknown 🎬", "긴 글 " * 400, ("긴 글 " * 400)[:50]]
    served = tf.saved_model.load(run / "saved_model").signatures["serving_default"]
    (probabilities,) = served(tf.constant(texts)).values()
    expected = keras.saving.load_model(run / "model.keras")(tf.constant(texts))
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(probabilities[4], probabilities[5], atol=1e-6), "it reads 50 characters"


def test_predict_writes_every_form_and_answers_blank_lines(run, capsys, monkeypatch):
    def answers(form, text="좋아요\n\n  \n싫어요 🎬\n"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert sentiment.main(["predict", str(run), "--format", form]) == 0
        return capsys.readouterr().out.split("\n")

    as_text, as_tsv, as_json = map(answers, ("text", "tsv", "json"))
    assert as_tsv.pop(0) == "label\t긍정\t부정"
    for lines in (as_text, as_tsv, as_json):
        assert [bool(line) for line in lines] == [True, False, False, True, False]
    for text, tsv, content in zip(as_text, as_tsv, as_json, strict=True):
        if text:
            (label, best), (again, *shares), entry = text.split("\t"), tsv.split("\t"), json.loads(content)
            assert label == again == entry["label"]
            assert max(map(float, shares)) == float(best)
            assert sum(map(float, shares)) == pytest.approx(1, abs=2e-4)
            assert list(entry["probabilities"]) == ["긍정", "부정"]


@pytest.fixture(scope="module")
def other(run):
    """A run on the same data that answers otherwise."""
    out = run.with_name("other")
    arguments = [run.parent / "reviews.tsv", "--units", 3, "--embedding", 4, "--epochs", 1, "--seed", 7]
    assert sentiment.main([*map(str, ["--dataset", *arguments, "--out", out])]) == 0
    return out


def test_runs_answer_together_by_the_mean_of_their_probabilities(run, other, tmp_path, capsys):
    def told(*runs):
        assert sentiment.main(["predict", *map(str, runs), "정말 좋아요", "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)["probabilities"]["긍정"]

    assert told(run) != told(other)
    assert told(run, other, run) == pytest.approx((2 * told(run) + told(other)) / 3, abs=2e-6)
    renamed = with_config(other, tmp_path / "renamed", labels=["a", "b"])
    assert sentiment.main(["predict", str(run), str(renamed), "좋아요"]) == 2
    assert f"{renamed} has a, b." in capsys.readouterr().err


def with_config(run, copy, **changes):
    """A copy of a run with other entries in its config.json."""
    shutil.copytree(run, copy)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    return copy


def test_evaluate_repeats_the_measures_of_a_run(run, capsys):
    kept = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    found = evaluate([run])
    assert {*found} == {"test_accuracy", "majority_accuracy", "test_loss", "test_f1"}
    for measure, value in found.items():
        assert value == pytest.approx(kept[measure], rel=1e-5), measure
    assert sentiment.main(["evaluate", str(run)]) == 0
    assert f"majority accuracy  {kept['majority_accuracy']:.4f}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def noisy(run):
    """Texts with labels of which a third is wrong, as (path, texts, labels), in a form of its own."""
    rng = np.random.default_rng(3)
    texts = [f"영화 {at} {word} 봤다" for at in range(40) for word in ("좋아요", "싫어요", "정말 별로")]
    labels = [("긍정" if "좋아요" in text else "부정") for text in texts]
    labels = [rng.choice(["긍정", "부정"]) if rng.random() < 2 / 3 else label for label in labels]
    texts[7] = "영화 3 번 정말 좋아요" * 30  # beyond the 50 characters that the run reads
    path = run.parent / "noisy.csv"
    rows = [("review", "kind"), *zip(texts, labels, strict=True)]
    path.write_bytes(joined(rows, delimiter=";").encode("cp949"))
    return path, texts, labels


FORM_OF_NOISY = ["--encoding", "cp949", "--text-column", "review", "--label-column", "kind"]


def test_runs_are_measured_together_by_the_mean_of_their_probabilities(run, other, noisy, capsys):
    path, texts, labels = noisy
    first, second = (
        keras.saving.load_model(one / "model.keras").predict(tf.constant(texts), verbose=0)
        for one in (run, other)
    )
    mean = (first + 2 * second) / 3
    true = np.array([("긍정", "부정").index(label) for label in labels])
    guessed = mean.argmax(axis=1)

    def loss_of(probabilities):
        return -np.mean(np.log(probabilities[np.arange(len(true)), true]))

    assert min(abs(loss_of(mean) - loss_of(one)) for one in (first, second)) > 1e-2, "the runs differ"
    assert {*guessed} == {0, 1} and np.any(guessed != true)
    expected = {
        "test_accuracy": np.mean(guessed == true),
        "majority_accuracy": np.mean(true == 0),  # 긍정, the most frequent of the training part
        "test_loss": loss_of(mean),
        "test_f1": sklearn.metrics.f1_score(true, guessed, average="macro"),
    }
    runs = [str(one) for one in (run, other, other)]
    assert sentiment.main(["evaluate", *runs, "--test", str(path), *FORM_OF_NOISY]) == 0
    lines = [line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-4:]]
    assert {name.replace(" ", "_"): float(value) for name, value in lines} == pytest.approx(
        expected, abs=6e-5
    )


def test_it_is_told_how_many_texts_were_in_training(run, tmp_path, capsys):
    corpus = reviews.load(str(run.parent / "reviews.tsv"))
    texts = [*corpus.train.texts[:5], *corpus.validation.texts[:2], *corpus.test.texts[:4]]
    path = tmp_path / "some.tsv"
    path.write_text(joined([("document", "label"), *((text, "긍정") for text in texts)]), encoding="utf-8")
    evaluate([run], path)
    assert f"{path}: 7 of 11 texts are in the training or the validation part." in capsys.readouterr().out


def test_what_cannot_be_measured_ends_in_one_sentence(run, other, noisy, tmp_path, capsys):
    def refused(sentence, *arguments):
        assert sentiment.main(["evaluate", *map(str, arguments)]) == 2
        said = capsys.readouterr().err
        assert sentence in said and len(said.splitlines()) == 1

    unknown = tmp_path / "unknown.tsv"
    unknown.write_text("document\tlabel\n좋아요\t긍정\n그냥 그래요\t보통\n", encoding="utf-8")
    refused(f"{unknown} has the label '보통'; the runs know 긍정, 부정.", run, "--test", unknown)
    refused("There is no file none.csv.", run, "--test", "none.csv")
    refused("no column document", run, "--test", noisy[0], "--encoding", "cp949", "--text-column", "document")
    refused("--text-column says how --test is written; give both.", run, "--text-column", "review")
    changed = with_config(other, tmp_path / "changed", data="0")
    refused(f"{changed} was not trained on {run.parent / 'reviews.tsv'} as it is now.", run, changed)
    options = json.loads((run / "config.json").read_text(encoding="utf-8"))["options"]
    moved = with_config(run, tmp_path / "moved", options={**options, "dataset": "gone.tsv"})
    refused(f"The data of {moved} cannot be read again: There is no file gone.tsv.", moved)
    damaged = with_config(run, tmp_path / "damaged", options={"cell": "lstm"})
    refused(f"The options of {damaged} are damaged", damaged)


def test_predict_refuses_input_that_is_not_utf_8(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good\n\xff\n")))
    assert sentiment.main(["predict", str(run)]) == 2
    assert "Line 2 of the standard input is not UTF-8 text (byte 0)." in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error(monkeypatch, capsys):
    """As `head` in `predict … | head`: the pipe is closed before all is written."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        commands = {"say": (Parser(prog="say"), lambda parser, options: print("much"))}
        assert command_line(commands, []) == 0
    assert capsys.readouterr().err == ""


def test_a_finished_run_goes_on_in_a_run_of_its_own(run, tmp_path, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    for arguments, sentence in (
        (["--epochs", "2"], "has no epoch left: it has trained 2"),
        ([], "is finished; there is nothing to resume, unless it is given more --epochs"),
        (["--units", "5"], "leave out --units"),
    ):
        assert sentiment.main(["--resume", str(run), *arguments]) == 2
        assert sentence in capsys.readouterr().err
    out = tmp_path / "more"
    assert sentiment.main(["--resume", str(run), "--epochs", "3", "--patience", "9", "--out", str(out)]) == 0
    short, long = ((path / "history.csv").read_text().splitlines() for path in (run, out))
    assert long[: len(short)] == short
    assert len(long) == len(short) + 1
    assert f"continues the run {run}" in (out / "README.md").read_text(encoding="utf-8")
    assert {path.name: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_options_that_are_not_given_suit_the_corpus():
    def suited(*given, texts=("재미있다",) * 500):
        parser = sentiment.train_parser()
        options = parser.parse_args([*given])
        part = reviews.Part([*texts], [0] * len(texts))
        problem.suit(options, parser.given, reviews.Corpus(part, part, part, ("a", "b")))
        return options

    characters = suited()
    assert (characters.tokens, characters.ngrams, characters.bidirectional) == ("characters", 3, True)
    assert characters.epochs == problem.MOST_EPOCHS, "the texts are few"
    chosen = suited("--ngrams", "1", "--no-bidirectional", "--epochs", "3")
    assert (chosen.tokens, chosen.ngrams, chosen.bidirectional, chosen.epochs) == ("characters", 1, False, 3)
    words = suited(texts=("a good film",) * 200_000)
    assert (words.tokens, words.ngrams, words.bidirectional, words.epochs) == ("words", 1, False, 3)
    assert suited("--tokens", "words").ngrams == 1
    short = suited("--epochs", "4", texts=("a good film",) * 500)
    assert short.average == 0, "of 32 steps; more than half of an average were the random weights"
    assert suited("--epochs", "4", texts=("a good film",) * 20_000).average == 0.99
    assert suited("--epochs", "4", "--average", "0.9", texts=("a good film",) * 500).average == 0.9


def test_balanced_weights_let_each_label_weigh_the_same():
    part = reviews.Part(["x"] * 10, [0] * 7 + [1] * 2 + [2])
    weights = problem.class_weights(reviews.Corpus(part, part, part, ("a", "b", "c")))
    np.testing.assert_allclose(weights * [7, 2, 1], 10 / 3, rtol=1e-6)


def test_words_keep_emoji_and_punctuation():
    layer = words.vectorizer(["a"], 100)
    text = "Isn't it <b>GREAT</b>?! Well...\u00a0(yes) 👨\u200d👩 ❤\ufe0f3"
    assert words.tokens(layer, [text]) == [
        ["isnt", "it", "great", "?!", "well", "...", "(", "yes", ")", "👨", "👩", "❤\ufe0f", "3"]
    ]
    characters = words.vectorizer(["a"], 100, "characters")
    assert words.tokens(characters, ["A\n \tb<br>좋"]) == [[*"a b 좋"]]


def test_what_occurs_once_is_unknown_unless_nothing_occurs_more_often():
    assert words.vectorizer(["a b a", "b c"], 100, least=2).get_vocabulary() == ["", "[UNK]", "b", "a"]
    assert set(words.vectorizer(["a b"], 100, least=2).get_vocabulary()) == {"", "[UNK]", "a", "b"}


def test_ngrams_have_the_same_number_wherever_they_stand():
    ids = np.array([[5, 6, 7, 5, 6, 7, 0], [6, 7, 65_000, 8, 2_000_000, 0, 0]])
    for n in (2, 3):
        numbers = np.asarray(HashedNGrams(n)(ids))
        assert (numbers[ids == 0] == 0).all()
        assert numbers[ids != 0].min() >= 1
        assert numbers.max() < 2**16
        assert numbers[0, 5] == numbers[0, 2]
        assert len(set(numbers[0, :3])) == 3
    of_two = np.asarray(HashedNGrams(2)(ids))
    assert of_two[1, 1] == of_two[0, 2], "6 and 7"
    assert of_two[1, 0] != of_two[0, 1], "nothing and 6, 5 and 6"


# -- a linear classifier beside the network


def test_ngrams_are_counted():
    texts = [[5, 6, 5, 6, 7], [6], [], [9] * 40, [70_000, 5, 6]]
    counts = linear.count(texts, 3).toarray()
    numbers = {}
    for row, text in zip(counts, texts, strict=True):
        # at the first steps the runs are shorter
        runs = [tuple(text[max(0, end - n) : end]) for n in (1, 2, 3) for end in range(1, len(text) + 1)]
        assert sorted(row[row > 0]) == sorted(collections.Counter(runs).values())
        numbers[tuple(text)] = {int(number) for number in np.flatnonzero(row)}
    assert numbers[6,] < numbers[5, 6, 5, 6, 7]
    assert len(numbers[5, 6, 5, 6, 7] & numbers[70_000, 5, 6]) == 3, "5, 6, and both"


def counted():
    """Counts of some n-grams in 30 texts, with 3 labels that they tell something of."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    counts = rng.poisson(np.where(rng.integers(0, 3, 40) == labels[:, None], 2, 0.5)).astype("float32")
    wide = scipy.sparse.lil_matrix((30, linear.BUCKETS), dtype="float32")
    wide[:, 1:41] = counts
    return counts, wide.tocsr(), labels


def test_ratios_are_those_of_naive_bayes():
    _, wide, labels = counted()
    for label in range(3):
        bayes = MultinomialNB(alpha=linear.SMOOTHING).fit(wide > 0, labels == label)
        unlikely, likely = bayes.feature_log_prob_
        np.testing.assert_allclose(linear.ratios(wide, labels == label), likely - unlikely, atol=1e-9)


@pytest.mark.parametrize("number", [2, 3])
def test_one_regression_tells_each_label_from_the_others(number):
    counts, wide, labels = counted()
    labels = labels % number
    weights, biases = linear.fitted(wide, labels, number)
    logits = wide @ weights + biases
    for label in range(number) if number > 2 else [1]:
        ratio = linear.ratios(wide, labels == label)[1:41]
        features = np.pad(counts * ratio, [(0, 0), (0, 1)], constant_values=1)  # the bias is penalised too
        regression = LogisticRegression(C=linear.PENALTY, fit_intercept=False, solver="newton-cg", tol=1e-8)
        regression.fit(features, labels == label)
        np.testing.assert_allclose(logits[:, label], regression.decision_function(features), atol=0.05)
    assert number > 2 or not logits[:, 0].any()


def test_the_weights_of_two_classifiers_are_those_of_the_least_loss():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    good = 4 * np.eye(3)[labels] + rng.normal(0, 2, (400, 3))
    noise = rng.normal(0, 3, (400, 3))
    first, second = linear.stacked([good, noise], labels)

    def loss(a, b):
        logits = a * good + b * noise
        return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(400), labels])

    assert second < 0.05
    for a, b in itertools.product((first - 0.02, first, first + 0.02), (second, second + 0.02)):
        assert loss(first, second) <= loss(a, b) + 1e-9


def test_the_network_answers_with_the_classifier_beside_it():
    ids = [[*[2, 3, 4][: 1 + at % 3], 5 + at % 2] for at in range(40)]
    part = reviews.Part([""] * 40, [(at + at // 7) % 2 for at in range(40)])
    batches = Batches(
        [len(row) for row in ids],
        lambda batch: (pad([ids[at] for at in batch]), np.array(part.labels)[batch]),
        (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)),
        16,
    )
    options = sentiment.train_parser().parse_args(["--units", "3", "--embedding", "4"])
    beside = linear.Beside(ids, part.labels, 2, 2, None, (batches, part.labels))
    model = network.network(9, 2, options)
    logits = beside.logits(model)
    inputs = pad(ids)
    found = logits.predict(inputs, verbose=0)
    first, second = linear.stacked(
        [each.predict(inputs, verbose=0) for each in (model, beside.classifier)], np.array(part.labels)
    )
    np.testing.assert_allclose(found["both"], first * found["network"] + second * found["ngrams"], atol=1e-3)
    np.testing.assert_allclose(beside.answering(model).predict(inputs, verbose=0), found["both"], atol=1e-6)
    weights, biases = linear.fitted(linear.count(ids, 2), np.array(part.labels), 2)
    np.testing.assert_allclose(found["ngrams"], linear.count(ids, 2) @ weights + biases, atol=1e-5)


def test_labels_without_a_font_are_numbers_rather_than_boxes(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "FONTS", ("DejaVu Sans",))
    monkeypatch.setattr(figures, "_confusion", lambda matrix, labels, path: shown.append(labels))
    for labels in (["긍정", "부정"], ["gut", "schlecht"]):
        figures.confusion(np.eye(2, dtype=int), labels, tmp_path / "a.png")
    assert shown == [None, ["gut", "schlecht"]]
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.confusion(np.eye(2, dtype=int), ["긍정", "부정"], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
