"""The tagging script from the outside, and the data it learns from."""

import csv
import html.parser
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("seqeval", reason="the experiments need keras_gates[experiments]")

import keras
import seqeval.metrics
import tensorflow as tf
from sklearn.metrics import precision_recall_fscore_support

from experiments.common import highlight, prepared, python_source
from experiments.common.errors import InputError
from experiments.common.fitting import compile_model
from experiments.common.metrics import classification
from experiments.tagging import __main__ as tagging
from experiments.tagging import answers, measures, pieces
from experiments.tagging.data import conll, library, treebanks
from experiments.tagging.data.tagged import Tagged, corpus_of
from experiments.tagging.ensemble import Ensemble, evaluate
from experiments.tagging.network import text_network as network_of_text
from experiments.tagging.network import word_network
from keras_gates.layers.text import WordShape

ROOT = Path(__file__).parents[1]
TINY = [
    *("--units", "8", "--embedding", "6", "--character-embedding", "4", "--character-units", "4"),
    *("--batch-size", "8", "--epochs", "3", "--learning-rate", "0.02", "--dropout", "0"),
]
PLACES, PEOPLE = (
    ["Łódź", "København", "São Paulo", "東京", "Rome"],
    ["Ångström", "Zoë", "Ada Lovelace", "Nguyễn"],
)


# -- a corpus of BIO tags, made by hand


def sentence_of(rng, length, wrong=0.1):
    """About so many words, some of them names of places and people; a share of the tags is wrong."""
    words, tags = [], []
    while len(words) < length:
        kind, names = rng.choice([("LOC", PLACES), ("PER", PEOPLE), (None, ["went", "from", "saw", "the"])])
        parts = rng.choice(names).split()
        words += parts
        tags += ["B-" + kind] + ["I-" + kind] * (len(parts) - 1) if kind else ["O"]
    noisy = [rng.choice(["O", "B-LOC", "I-PER"]) if rng.random() < wrong else tag for tag in tags]
    return words, noisy


def in_columns(sentences, separator, line_end):
    blocks = [
        line_end.join(separator.join((word, "x", tag)) for word, tag in zip(words, tags, strict=True))
        for words, tags in sentences
    ]
    return (2 * line_end).join(blocks) + line_end


@pytest.fixture(scope="module")
def sentences():
    rng = random.Random(0)
    made = {part: [sentence_of(rng, rng.randint(2, 9)) for _ in range(40)] for part in conll.FILES}
    for part in made.values():
        part[7] = (["Rome"], ["B-LOC"])
        part[11] = sentence_of(rng, 500)
    return made


@pytest.fixture(scope="module")
def folder(sentences, tmp_path_factory):
    path = tmp_path_factory.mktemp("bio")
    files = {"train.conll": (" ", "\n"), "dev.tsv": ("\t", "\r\n"), "test.txt": ("  ", "\r\n")}
    for (name, (separator, line_end)), part in zip(files.items(), conll.FILES, strict=True):
        (path / name).write_bytes(in_columns(sentences[part], separator, line_end).encode())
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "bio"
    assert tagging.main(["--dataset", str(folder), *TINY, "--no-crf", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def well_formed():
    rng = random.Random(1)
    return {part: [sentence_of(rng, rng.randint(2, 9), wrong=0) for _ in range(40)] for part in conll.FILES}


@pytest.fixture(scope="module")
def crf_run(well_formed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("well-formed")
    for name, part in well_formed.items():
        (folder / f"{name}.txt").write_text(in_columns(part, " ", "\n"), encoding="utf-8")
    assert tagging.main(["--dataset", str(folder), *TINY, "--out", str(folder / "run")]) == 0
    return folder / "run"


def padded(sentences):
    longest = max(map(len, sentences))
    return [words + [""] * (longest - len(words)) for words in sentences]


def test_a_folder_is_read_as_it_was_written(folder, sentences):
    corpus = conll.read_folder(folder)
    for part, name in zip(corpus.parts().values(), conll.FILES, strict=True):
        read = [(words, [corpus.names[tag] for tag in tags]) for words, tags in part]
        assert read == sentences[name]
    assert {len(words) for words, _ in corpus.test} >= {1}
    assert max(len(words) for words, _ in corpus.test) >= 500


def test_span_f1_is_that_of_seqeval(run, sentences):
    model = keras.saving.load_model(run / "model.keras")
    words, true = zip(*sentences["test"], strict=True)
    tags = model(tf.constant(padded(words)))["tags"].numpy()
    guessed = [[tag.decode() for tag in row[: len(one)]] for row, one in zip(tags, words, strict=True)]
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 < metrics["test_span_f1"] < 1
    assert metrics["test_span_f1"] == pytest.approx(seqeval.metrics.f1_score(list(true), guessed), abs=1e-12)
    right = np.concatenate([np.equal(*pair) for pair in zip(true, guessed, strict=True)])
    assert metrics["test_accuracy"] == pytest.approx(right.mean(), abs=1e-12)


def test_a_run_folder_is_whole(run):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.json", "history.csv"),
        *("learning_curve.png", "confusion.png", "model.keras", "saved_model", "README.md", "checkpoint.npz"),
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] > metrics["per_label"]["O"]["number"] / 1100  # learnt more than O
    assert set(metrics["per_label"]) == {"B-LOC", "I-LOC", "B-PER", "I-PER", "O"}


# -- what cannot be read


@pytest.mark.parametrize(
    ("content", "column", "sentence"),
    [
        ("", None, "holds no sentence"),
        ("\n \n", None, "holds no sentence"),
        ("a x O\nb O\n", None, "line 2: expected 3 columns, as in the first line; got 2: 'b O'"),
        ("a\nb\n", None, "line 1: expected a word and its tag in columns; got ['a']"),
        ("a x O\n", "4", "line 1: expected a word and its tag in columns; got ['a', 'x', 'O']"),
        ("a x O\n", "1", "line 1: expected a word and its tag"),
        ("a x O\n", "0", "a number that counts from 1, or from the end if negative; got '0'"),
        ("a x O\n", "ner", "got 'ner'"),
        (b"\xff\xfe", None, "is not UTF-8: byte 0 cannot be read"),
    ],
)
def test_a_file_that_is_not_as_expected(tmp_path, content, column, sentence):
    path = tmp_path / "train.conll"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        conll.read_file(path, column)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_bad_input_is_one_sentence_and_exit_code_2(folder, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("train.conll", "dev.conll"):
        (empty / name).write_text("a O\n")
    assert_refused(capsys, ["--dataset", tmp_path / "nowhere"], "is neither one of python")
    assert_refused(capsys, ["--dataset", empty], "has no test file: expected test with .conll")
    (empty / "test.conll").write_text("")
    assert_refused(capsys, ["--dataset", empty], "test.conll holds no sentence")
    (empty / "test.txt").write_text("a O\n")
    assert_refused(capsys, ["--dataset", empty], "more than one test file: test.conll and test.txt")
    assert_refused(capsys, ["--dataset", folder, "--column", "7"], "expected a word and its tag")
    assert_refused(capsys, ["--dataset", "conll2003", "--column", "upos"], "columns ner, pos, chunks")
    assert_refused(capsys, ["--dataset", "python", "--column", "2"], "has no columns")
    assert_refused(capsys, ["predict", tmp_path / "nowhere", "a"], "is not a finished run")


def assert_refused(capsys, arguments, sentence):
    assert tagging.main([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1, error


def test_conllu(tmp_path):
    lines = [
        "# text = Don't",
        "1-2\tDon't" + "\t_" * 8,
        "1\tDo\tdo\tAUX\tVB" + "\t_" * 5,
        "2\tn't\tnot\tPART\tRB" + "\t_" * 5,
        "2.1\tgo" + "\t_" * 8,
        "",
        "1\t#\t#\tSYM\tNN" + "\t_" * 5,
    ]
    path = tmp_path / "train.conllu"
    path.write_text("\ufeff" + "\n".join(lines))
    assert conll.read_file(path) == [(["Do", "n't"], ["AUX", "PART"]), (["#"], ["SYM"])]
    assert conll.read_file(path, "xpos")[0] == (["Do", "n't"], ["VB", "RB"])
    assert conll.read_file(path, "3")[0] == (["Do", "n't"], ["do", "not"])


def test_a_hash_is_a_word_outside_conllu(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("-DOCSTART- -X-\n\n# SYM\n1 NUM\n")
    assert conll.read_file(path) == [(["#", "1"], ["SYM", "NUM"])]


# -- treebanks


def test_treebank_without_the_tokens_that_are_no_words(monkeypatch):
    monkeypatch.setattr(prepared, "builder", lambda name: Treebank())
    corpus = treebanks.read("universal_dependencies/xx_tiny")
    assert corpus.names == ("AUX", "PART")
    assert [words for words, _ in corpus.train] == [["do", "n't"]]
    assert corpus.test[0].tags.tolist() == [0, 1]
    assert treebanks.read("universal_dependencies/xx_tiny", "xpos").names == ("RB", "VB")


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        ("universal_dependencies/en_ewtt", r"has no en_ewtt: there are en_ewt, .* in all"),
        ("universal_dependencies", r"has many parts; name one of them: there are af_afribooms, .* in all"),
    ],
)
def test_an_unknown_treebank_is_one_sentence(dataset, sentence):
    with pytest.raises(InputError, match=rf"^--dataset {dataset} {sentence}\.$"):
        treebanks.read(dataset)


def test_a_dataset_of_one_part_needs_no_name_for_it():
    tfds = pytest.importorskip("tensorflow_datasets")
    for name in "imdb_reviews", "conll2003":
        prepared.check_part(name, tfds.builder_cls(name))


class Treebank:
    """As tensorflow-datasets gives them: a word beside its parts, and an empty example at the end."""

    def __init__(self):
        import tensorflow_datasets as tfds

        text = tfds.features.Sequence(tfds.features.Text())
        upos = tfds.features.Sequence(tfds.features.ClassLabel(names=["AUX", "PART", "_"]))
        features = tfds.features.FeaturesDict({"tokens": text, "upos": upos, "xpos": text})
        self.info = type("Info", (), {"features": features})

    def as_dataset(self, split):
        examples = [
            {"tokens": [b"don't", b"do", b"n't"], "upos": [2, 0, 1], "xpos": [b"None", b"VB", b"RB"]},
            {"tokens": [], "upos": [], "xpos": []},
        ]
        return type("Examples", (), {"as_numpy_iterator": lambda self: iter(examples)})()


# -- Python source

# runs of characters and their labels, by hand
LABELLED = [
    ("@", "operator"),
    ("cache", "name"),
    ("\n", "white space"),
    ("def", "keyword"),
    (" ", "white space"),
    ("area", "defined name"),
    ("(", "operator"),
    ("r", "name"),
    (":", "operator"),
    ("int", "builtin"),
    ("=", "operator"),
    ("0x1F", "number"),
    (")->", "operator"),
    ("float", "builtin"),
    (":", "operator"),
    ("\n    ", "white space"),
    ('"""Of a "circle".\n\n    Over lines."""', "string"),
    ("  ", "white space"),
    ("# π r²", "comment"),
    ("\n    ", "white space"),
    ("x", "name"),
    ("=", "operator"),
    ("f\"{r!r:>{len('abc')}} {{}}\"", "string"),
    ("+", "operator"),
    ("str", "builtin"),
    (".", "operator"),
    ("format", "name"),
    ("(", "operator"),
    (r'b"\n"', "string"),
    (")", "operator"),
    (" \\\n        ", "white space"),
    ("+", "operator"),
    ("self", "name"),
    (".", "operator"),
    ("print", "name"),
    ("\n    ", "white space"),
    ("class", "keyword"),
    (" ", "white space"),
    ("Ärger", "defined name"),
    (":", "operator"),
    ("pass", "keyword"),
    ("\n    ", "white space"),
    ("return", "keyword"),
    (" ", "white space"),
    ("print", "builtin"),
    ("(", "operator"),
    ("3.1j", "number"),
    (")", "operator"),
    ("\n", "white space"),
]
SOURCE = "".join(run for run, _ in LABELLED)


def test_labels_of_a_text_labelled_by_hand():
    labels = [python_source.TAGS[code] for code in python_source.label(SOURCE)]
    assert labels == [label for run, label in LABELLED for _ in run]


def test_positions_count_characters_in_every_kind_of_line():
    text = "é = '𝔘'\n\x0cß = 2  # ü\n\tñ = 3"
    labels = [python_source.TAGS[code] for code in python_source.label(text)]
    found = {
        kind: "".join(c for c, label in zip(text, labels, strict=True) if label == kind) for kind in labels
    }
    assert found == {
        "name": "éßñ",
        "white space": "  \n\x0c    \n\t  ",
        "operator": "===",
        "string": "'𝔘'",
        "number": "23",
        "comment": "# ü",
    }


def test_modules_are_split_by_top_level_name():
    modules = python_source.modules()
    parts = {}
    for name in modules:
        parts.setdefault(name.split(".")[0], set()).add(python_source.part_of(name))
    assert all(len(found) == 1 for found in parts.values())
    assert set.union(*parts.values()) == {"train", "validation", "test"}
    assert python_source.part_of("json.decoder") == "test"  # and it stays there
    assert not {"test", "encodings"} & {name.split(".")[0] for name in modules}


def test_files_that_are_no_python_are_passed_over(tmp_path):
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "open.py").write_text("x = (\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "declared.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    corpus = library.read(folder=tmp_path)
    texts = sorted(sequence.elements for part in corpus.parts().values() for sequence in part)
    assert texts == ["# coding: latin-1\nx = 'é'\n", "x = 1\n"]
    with pytest.raises(InputError, match="no source files"):
        library.read(folder=tmp_path / "nowhere")


def test_pieces_tag_every_character_once(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE", 8)
    monkeypatch.setattr(pieces, "CONTEXT", 3)
    for length in (1, 3, 7, 8, 9, 16, 21):
        text, tags = "abcdefghijklmnopqrstu"[:length], np.arange(length)
        found = pieces.pieces(Tagged(text, tags))
        counted = [piece.tags != pieces.NO_TAG for piece in found]
        assert np.concatenate([p.tags[c] for p, c in zip(found, counted, strict=True)]).tolist() == [
            *range(length)
        ]
        assert all(len(piece.elements) == len(piece.tags) for piece in found)
        assert all(text.find(piece.elements) == max(8 * at - 3, 0) for at, piece in enumerate(found))


def test_a_pass_over_the_examples_may_take_several_epochs():
    sequences = [Tagged(f"{at:02d}", np.zeros(2, "int32")) for at in range(60)]
    batches = pieces.TagBatches(sequences, 5, seed=1, epochs_per_pass=4)
    assert len(batches) == 3
    one_pass = [np.concatenate(batches.epoch(number)) for number in range(4)]
    assert sorted(np.concatenate(one_pass)) == [*range(60)]
    assert not np.array_equal(batches.epoch(0), batches.epoch(4))


# -- the networks


def options(*arguments, reads="words"):
    return tagging.train_parser(reads).parse_args([*TINY, *arguments])


ALPHABET = [*"abcdefgh"]
VARIANTS = [
    [],
    ["--no-characters"],
    ["--layers", "2", "--residual"],
    ["--layers", "2", "--no-bidirectional", "--residual", "--cell", "gru"],
]


def words_network(*arguments):
    chosen = options(*arguments)
    alphabet = ALPHABET if chosen.characters else None
    return compiled(word_network(["ab", "cd", "é"], alphabet, tags=4, options=chosen), chosen)


def text_network(*arguments):
    chosen = options(*arguments, reads="characters")
    return compiled(network_of_text(ALPHABET, tags=4, options=chosen), chosen)


def compiled(network, chosen):
    for at, weight in enumerate(network.weights):
        weight.assign(np.random.default_rng(at).normal(0, 0.5, weight.shape))
    compile_model(network, chosen, steps=10)
    return network


def loss_of(network, logits, tags):
    return float(network.compute_loss(y=tf.constant(tags), y_pred=logits))


WORDS = np.array([["ab", "cd", "gaga", "é"], ["abcdefgh", "ab", "", ""], ["x", "", "", ""]], object)
TEXTS = ["abc\n", "é ", "h"]
TAGS = np.array([[0, 1, 2, 3], [3, 2, 0, 0], [1, 0, 0, 0]])
LENGTHS = [4, 2, 1]


@pytest.mark.parametrize("arguments", VARIANTS, ids=" ".join)
def test_padding_words_changes_no_prediction_and_no_loss(arguments):
    network = words_network(*arguments)
    logits = network(tf.constant(WORDS))
    more = network(tf.constant(np.pad(WORDS, [(0, 0), (0, 5)], constant_values="")))
    assert_unpadded_alike(logits, more)
    loss = loss_of(network, logits, TAGS)
    assert loss_of(network, more, np.pad(TAGS, [(0, 0), (0, 5)])) == pytest.approx(loss, abs=1e-6)
    assert loss == pytest.approx(mean_cross_entropy(logits), abs=1e-6)


@pytest.mark.parametrize("arguments", [[], ["--layers", "2", "--residual"]], ids=" ".join)
def test_padding_text_changes_no_prediction_and_no_loss(arguments):
    network = text_network(*arguments)
    logits = network(tf.constant(TEXTS))
    assert_unpadded_alike(logits, network(tf.constant([*TEXTS, "abcdefgh"])))
    assert loss_of(network, logits, TAGS) == pytest.approx(mean_cross_entropy(logits), abs=1e-6)


def assert_unpadded_alike(logits, more):
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(more[row, :length], logits[row, :length], atol=1e-5)
        assert np.ptp(logits[row, :length], axis=-1).min() > 0.1  # and there is something to compare


def mean_cross_entropy(logits):
    rows = zip(logits.numpy(), TAGS, LENGTHS, strict=True)
    return np.concatenate([cross_entropy(row[:n], tags[:n]) for row, tags, n in rows]).mean()


def cross_entropy(logits, tags):
    """Of every tag (time,) by its logits (time, tags)."""
    return np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(len(tags)), tags]


def test_the_spelling_of_a_word_is_the_same_wherever_it_stands():
    network = words_network()
    spelling = keras.Model(network.input, network.get_layer("form_and_characters").output)
    vectors = np.asarray(spelling(tf.constant([["ab", "gaga", "ab"], ["cd", "ab", "gag"]])))
    np.testing.assert_array_equal(vectors[0, 0], vectors[0, 2])
    np.testing.assert_array_equal(vectors[0, 0], vectors[1, 1])
    assert not np.allclose(vectors[0, 1], vectors[1, 2])  # both unknown words, spelt differently


def test_words_in_lower_case_keep_their_capitals_in_their_shape():
    chosen = options("--no-characters")
    network = word_network(["ab", "é"], None, 4, chosen, shapes=["x", "Xx"])
    vectors = keras.Model(network.input, network.get_layer("with_shape").output)
    lower, title, upper, unknown = vectors(tf.constant([["éab", "Éab", "ÉAB", "é"]])).numpy()[0]
    width = chosen.embedding
    for one in title, upper:
        np.testing.assert_array_equal(one[:width], lower[:width])
        assert not np.any(one[width:] == lower[width:])
    assert not np.any(lower[:width] == unknown[:width])


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        *(("Rome", "Xx"), ("ÜNO", "XX"), ("Rhône-Alpes", "Xx-Xx"), ("McDonald", "XxXx"), ("1990s", "0x")),
        *(("U.S.", "X.X."), ("東京", "東京"), ("٣", "0"), ("", "")),
    ],
)
def test_the_shape_of_a_word(word, shape):
    assert WordShape()(tf.constant([word])).numpy()[0].decode() == shape


# -- measures


def test_measures_against_training():
    corpus = corpus_of(
        {
            "train": [(["a", "b", "a"], ["X", "Y", "X"]), (["a", "b"], ["Y", "Y"]), (["c"], ["X"])],
            "validation": [],
            "test": [(["a", "b", "new"], ["X", "X", "Y"])],
        }
    )
    true, right = corpus.test[0].tags, np.array([True, False, False])
    found = measures.against_training(corpus.test[0].elements, true, right, corpus)
    # a: X, b: Y, an unseen word: X, as there are three of each and X comes first
    assert found == {"baseline_accuracy": pytest.approx(1 / 3), "unseen": 1, "unseen_accuracy": 0.0}


def test_label_measures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    true, guessed = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    per_label = classification(true, guessed, "abcd").per_label
    expected = precision_recall_fscore_support(true, guessed, labels=[0, 1, 2], zero_division=0)
    found = [[of[name] for of in per_label.values()] for name in ("precision", "recall", "f1", "number")]
    np.testing.assert_allclose(found, expected)
    assert list(per_label) == ["a", "b", "c"]  # d is never true


@pytest.mark.parametrize(
    ("names", "spans"),
    [("O B-PER I-PER", True), ("B-X", True), ("NOUN VERB", False), ("O", False), ("B-PER X-PER", False)],
)
def test_which_tags_mark_spans(names, spans):
    assert measures.are_spans(names.split()) == spans


@pytest.mark.parametrize(
    ("tags", "well_formed"),
    [
        ("O B-X I-X B-X O B-Y", True),
        ("I-X O B-Y", False),
        ("B-X I-Y", False),
        ("O I-X", False),
        ("O S-X B-X I-X E-X", True),
        ("S-X B-X I-X", False),
        ("B-X O S-X", False),
        ("E-X", False),
    ],
)
def test_which_tags_form_spans(tags, well_formed):
    corpus = corpus_of({"train": [(["a"] * len(tags.split()), tags.split())], "validation": [], "test": []})
    assert measures.are_well_formed(corpus.train, corpus.names) == well_formed


def test_the_probability_told_is_that_of_the_tag_told():
    """Which of a CRF need not be the most probable one."""

    def model(words):
        probabilities = np.array([[[0.7, 0.1, 0.2], [0.5, 0.4, 0.1]], [[0.1, 0.2, 0.7], [1, 0, 0]]])
        tags = np.array([["I-X", "O"], ["I-X", ""]])
        return {"tags": tf.constant(tags), "probabilities": tf.constant(probabilities)}

    (first, second), (third,) = answers.sentences_of(model, ["O", "B-X", "I-X"], "a b\nc")
    assert [*first, *second, *third] == ["a", "I-X", 0.2, "b", "O", 0.5, "c", "I-X", 0.7]


# -- saved models

SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments")))  # none can be imported
import json
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
tags = answer(tf.constant(json.loads(sys.argv[2])))["tags"].numpy()
print(json.dumps([[tag.decode() for tag in row] for row in tags]))
"""
LOAD = """
import json, sys
import keras, tensorflow as tf
import keras_gates
answer = keras.saving.load_model(sys.argv[1])(tf.constant(json.loads(sys.argv[2])))
print(json.dumps([[tag.decode() for tag in row] for row in answer["tags"].numpy()]))
"""


def in_a_new_process(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_saved_models_of_words_give_the_same_tags_in_a_new_process(run, sentences):
    words = padded([words for words, _ in sentences["test"][:10]] + [["Rome"], ["never", "Łódźian", "seen"]])
    model = keras.saving.load_model(run / "model.keras")
    answer = model(tf.constant(words))
    expected = [[tag.decode() for tag in row] for row in answer["tags"].numpy()]
    assert [[bool(tag) for tag in row] for row in expected] == [[bool(word) for word in row] for row in words]
    assert len({tag for row in expected for tag in row}) > 3
    assert in_a_new_process(SERVE, run / "saved_model", json.dumps(words)) == expected
    assert in_a_new_process(LOAD, run / "model.keras", json.dumps(words)) == expected
    names = json.loads((run / "config.json").read_text())["labels"]
    unpadded = [[tag for tag in row if tag] for row in expected]
    best = answer["probabilities"].numpy().argmax(axis=-1)
    named = [[names[at] for at in row] for row in best]
    assert [row[: len(tags)] for row, tags in zip(named, unpadded, strict=True)] == unpadded


def test_a_crf_gives_well_formed_spans_where_only_tensorflow_is(crf_run, well_formed):
    words, true = zip(*well_formed["test"], strict=True)
    served = tf.saved_model.load(crf_run / "saved_model").signatures["serving_default"]
    answer = served(tf.constant(padded(words)))
    tags = [[tag.decode() for tag in row if tag] for row in answer["tags"].numpy()]
    assert [len(row) for row in tags] == [len(row) for row in words]
    spans = re.compile(r"(( O)|( B-LOC)( I-LOC)*|( B-PER)( I-PER)*)*")
    assert all(spans.fullmatch("".join(f" {tag}" for tag in row)) for row in tags)
    metrics = json.loads((crf_run / "metrics.json").read_text())
    assert 0 < metrics["test_span_f1"] == pytest.approx(seqeval.metrics.f1_score(list(true), tags), abs=1e-12)
    names = json.loads((crf_run / "config.json").read_text())["labels"]
    rows = zip(answer["probabilities"].numpy(), true, strict=True)
    of_true = np.concatenate(
        [row[range(len(tags)), [names.index(tag) for tag in tags]] for row, tags in rows]
    )
    assert metrics["test_loss"] == pytest.approx(-np.log(of_true).mean(), rel=1e-4)


def test_the_best_epoch_is_that_of_the_highest_span_f1(crf_run, run):
    for folder in crf_run, run:
        with (folder / "history.csv").open() as file:
            scores = [float(row["val_score"]) for row in csv.DictReader(file)]
        best = json.loads((folder / "metrics.json").read_text())["best_epoch"]
        assert len(scores) == 3 and best == 1 + scores.index(max(scores))


@pytest.fixture(scope="module")
def python_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "python"
    small = ["--limit", "3", "--window", "64", "--units", "8", "--epochs", "2", "--learning-rate", "0.02"]
    assert tagging.main([*small, "--out", str(out)]) == 0
    return out


def test_saved_models_of_text_give_the_same_tags_in_a_new_process(python_run):
    texts = [SOURCE, "x = 'ü'\n"]
    answer = keras.saving.load_model(python_run / "model.keras")(tf.constant(texts))
    expected = [[tag.decode() for tag in row] for row in answer["tags"].numpy()]
    assert [sum(map(bool, row)) for row in expected] == [len(text) for text in texts]
    assert in_a_new_process(SERVE, python_run / "saved_model", json.dumps(texts)) == expected
    assert in_a_new_process(LOAD, python_run / "model.keras", json.dumps(texts)) == expected


# -- predict


def predict(capsys, *arguments):
    assert tagging.main(["predict", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_predict_sentences(run, capsys):
    text = "Ada Lovelace saw (København)."
    words = ["Ada", "Lovelace", "saw", "(", "København", ")", "."]
    lines = [line.split("\t") for line in predict(capsys, run, text).splitlines()]
    assert [word for word, *_ in lines if word] == words
    (sentence,) = map(json.loads, predict(capsys, run, text, "--format", "json").splitlines())
    assert [[token["text"], token["tag"]] for token in sentence] == lines[:-1]
    assert all(0 < token["probability"] <= 1 for token in sentence)
    shown = predict(capsys, run, text, "--format", "terminal")
    assert all(word in shown for word in words)
    assert "\x1b[" in shown


def test_predict_a_treebank_as_what_it_is(run, capsys, tmp_path):
    words = ["Ada", "Lovelace", "can", "not", "go"]
    rows = [f"{at}\t{word}\t_\tX" + "\t_" * 6 for at, word in enumerate(words, 1)]
    rows.insert(2, "3-4\tcannot" + "\t_" * 8)
    path = tmp_path / "dev.conllu"
    path.write_text("# text = Ada Lovelace cannot go\n" + "\n".join(rows) + "\n\n")
    lines = predict(capsys, run, path).splitlines()
    assert [line.split("\t")[0] for line in lines if line] == [*words[:2], *words[2:]]
    capsys.readouterr()
    config = json.loads((run / "config.json").read_text())
    of_column = tmp_path / "run"
    shutil.copytree(run, of_column)
    config["options"]["column"] = "upos"
    (of_column / "config.json").write_text(json.dumps(config))
    written = predict(capsys, of_column, path).splitlines()
    assert written[0] == "# text = Ada Lovelace cannot go"
    assert written[3] == rows[2]
    tags = [line.split("\t")[3] for line in written if line[:1].isdigit() and "-" not in line.split("\t")[0]]
    assert tags == [line.split("\t")[1] for line in lines if line]


def test_predict_answers_blank_lines_by_blank_lines(run, capsys):
    text = "Rome\n\nZoë"
    assert predict(capsys, run, text, "--format", "json").split("\n")[1] == ""
    assert [line.split("\t")[0] for line in predict(capsys, run, text).split("\n")] == [
        *("Rome", "", "", "Zoë", "", "")
    ]


def test_a_long_line_is_tagged_piece_by_piece_as_in_one(run, monkeypatch):
    model = keras.saving.load_model(run / "model.keras")
    labels = json.loads((run / "config.json").read_text())["labels"]
    words = random.Random(0).choices(["Rome", "went", "Zoë", "the"], k=60)
    whole = answers.tagged(model, labels, [words, words[:5]])
    monkeypatch.setattr(pieces, "PIECE", 20)
    monkeypatch.setattr(pieces, "CONTEXT", 20)
    in_pieces = answers.tagged(model, labels, [words, words[:5]])
    assert [[token[:2] for token in sentence] for sentence in in_pieces] == [
        [token[:2] for token in sentence] for sentence in whole
    ]
    assert [len(sentence) for sentence in whole] == [60, 5]


def test_predict_a_file(python_run, capsys, tmp_path):
    path = tmp_path / "seen.py"
    path.write_bytes(b"\xef\xbb\xbf" + SOURCE.replace("\n", "\r\n").encode())
    pieces = [
        json.loads(line.split("\t")[0]) for line in predict(capsys, python_run, path).splitlines() if line
    ]
    assert "".join(pieces) == SOURCE
    page = predict(capsys, python_run, path, "--format", "html")
    assert Listing(page).text.endswith(SOURCE)
    assert str(path) in page


class Listing(html.parser.HTMLParser):
    """The text inside the `pre` elements of a page."""

    def __init__(self, page):
        super().__init__()
        self.text, self.depth = "", 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.depth += tag == "pre"

    def handle_endtag(self, tag):
        self.depth -= tag == "pre"

    def handle_data(self, data):
        self.text += data if self.depth else ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(" ", "The text is empty."), ("missing.py", "missing.py")],
)
def test_predict_bad_input(python_run, capsys, text, sentence):
    assert_refused(capsys, ["predict", python_run, text], sentence)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("I do n't know .", "I do n't know ."),
        ("the dog 's bone", "the dog 's bone"),
        ("'Well,' she said...", "' Well , ' she said ..."),
        ("U.S. prices: $5 (1,000)", "U.S . prices : $ 5 ( 1,000 )"),
        ("naïve über-cool 東京", "naïve über-cool 東京"),
        ("", ""),
    ],
)
def test_split_words(line, words):
    assert highlight.split_words(line) == words.split()


def test_pages_escape_what_they_show():
    tokens = [highlight.Token('<b>&"', "<O>", 0.4)]
    page = highlight.page([tokens], code=False, title="a<b")
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert "unsure" in page.split("</style>")[1]


def test_tags_of_one_kind_of_span_share_a_colour():
    tokens = [highlight.Token("w", tag, 1.0) for tag in ("B-PER", "I-PER", "B-LOC", "O")]
    colours = highlight.colours_of([tokens])
    assert colours["B-PER"] == colours["I-PER"] != colours["B-LOC"]
    assert colours["O"] is None


# -- several runs together, and their measures


@pytest.mark.parametrize("name", ["run", "crf_run", "python_run"])
def test_evaluate_repeats_the_measures_of_a_run(name, request, capsys):
    path = request.getfixturevalue(name)
    kept = json.loads((path / "metrics.json").read_text())
    found = evaluate([path])
    for measure, value in found.items():
        if not isinstance(value, dict):
            assert value == pytest.approx(kept[measure], rel=1e-5), measure
    assert tagging.main(["evaluate", str(path)]) == 0
    assert f"test accuracy      {kept['test_accuracy']:.4f}" in capsys.readouterr().out


def test_several_runs_answer_by_the_mean_of_their_probabilities(crf_run, capsys):
    labels = ["B-PER", "I-PER", "O"]
    words = np.array([["a", "b", "c"], ["d", "", ""]], object)
    drawn = np.random.default_rng(0).dirichlet([1, 1, 1], size=(2, 2, 3)).astype("float32")
    drawn[:, 0, 0] = [0.1, 0.6, 0.3]  # the best alone would be I-PER, which cannot begin a span
    tags = tf.constant([[b"O", b"O", b"O"], [b"O", b"", b""]])
    models = [lambda _, p=p: {"tags": tags, "probabilities": tf.constant(p)} for p in drawn]
    answer = Ensemble(models, labels)(words)
    mean = drawn.mean(axis=0)
    np.testing.assert_allclose(answer["probabilities"], mean, rtol=1e-6)
    for row, length, found in zip(mean, (3, 1), answer["tags"].numpy().tolist(), strict=True):
        allowed = [
            way
            for way in itertools.product(range(3), repeat=length)
            if way[0] != 1 and not any(one == 2 and other == 1 for one, other in itertools.pairwise(way))
        ]
        best = max(allowed, key=lambda way: np.prod([row[at, tag] for at, tag in enumerate(way)]))
        assert found == [labels[tag].encode() for tag in best] + [b""] * (3 - length)
    assert predict(capsys, crf_run, crf_run, "Ada saw Rome", "--format", "conll").startswith("Ada\t")


def test_a_run_is_measured_on_another_file(crf_run, well_formed, tmp_path, capsys):
    """A file in an encoding of its own whose tags, with mistakes in them, stand in another column."""
    rng = random.Random(5)
    sentences = [
        (words, [rng.choice([tag, tag, "O"]) for tag in tags])
        for words, tags in well_formed["dev"]
        if all(word.isascii() for word in words)
    ]
    path = tmp_path / "other.txt"
    rows = ["\n".join(f"{word}\t{tag}\tx" for word, tag in zip(*pair, strict=True)) for pair in sentences]
    path.write_text("\n\n".join(rows), encoding="utf-16")
    arguments = ["evaluate", str(crf_run), "--test", str(path), "--encoding", "utf-16", "--column", "2"]
    assert tagging.main(arguments) == 0
    said = capsys.readouterr().out
    words, true = zip(*sentences, strict=True)
    tags = keras.saving.load_model(crf_run / "model.keras")(tf.constant(padded(words)))["tags"].numpy()
    guessed = [[tag.decode() for tag in row[: len(one)]] for row, one in zip(tags, words, strict=True)]
    accuracy = np.mean(np.equal(np.concatenate(true), np.concatenate(guessed)))
    assert f"test span f1       {seqeval.metrics.f1_score(list(true), guessed):.4f}" in said
    assert f"test accuracy      {accuracy:.4f}" in said and accuracy < 1


def test_what_cannot_be_measured_ends_in_one_sentence(crf_run, python_run, tmp_path, capsys):
    path = tmp_path / "other.txt"
    path.write_text("Ada B-ROBOT\n")
    sentence = f"{path} has the label 'B-ROBOT'; the runs know B-LOC, B-PER, I-LOC, I-PER, O."
    assert_refused(capsys, ["evaluate", crf_run, "--test", path], sentence)
    assert_refused(capsys, ["evaluate", python_run, "--test", path], "--test goes with runs of words.")
    assert_refused(capsys, ["evaluate", crf_run, "--column", "2"], "--column says how --test is written")


def test_runs_with_other_labels_or_data_do_not_answer_together(run, python_run, crf_run, tmp_path, capsys):
    renamed = tmp_path / "renamed"
    shutil.copytree(run, renamed)
    config = json.loads((run / "config.json").read_text())
    (renamed / "config.json").write_text(json.dumps({**config, "labels": ["a", "b"]}))
    for other, sentence in (
        (python_run, "must read the same"),
        (renamed, f"{renamed} has a, b."),
        (crf_run, "was not trained on"),
    ):
        assert_refused(capsys, ["evaluate", run, other], sentence)
