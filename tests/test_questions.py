"""Questions about a picture: data, the network that looks once, baselines, runs, saved models, bad input."""

import importlib.metadata
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_gates
from experiments.common.errors import InputError
from experiments.common.fitting import Keeper
from experiments.inspect import __main__ as inspect
from experiments.questions import __main__ as questions
from experiments.questions import data, reading
from experiments.questions.network import Network
from experiments.questions.problem import QuestionBatches, accuracies, vectorizer_of, without_looking

ROOT = Path(__file__).parents[1]
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230)}
TINY = [
    "--size",
    "8x8",
    "--filters",
    "8",
    "--stages",
    "1",
    "--units",
    "12",
    "--embedding",
    "6",
    "--hidden",
    "12",
]
SHORT = ["--epochs", "10", "--patience", "10", "--batch-size", "4", "--learning-rate", "0.02"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 pictures of one colour, a little different each, with three questions about each."""
    path = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        colour = list(COLOURS)[number % 3]
        picture = np.clip(COLOURS[colour] + rng.integers(-20, 20, (9, 7, 3)), 0, 255).astype("uint8")
        Image.fromarray(picture).save(path / f"{number}.png")
        asked = str(rng.choice(list(COLOURS)))
        rows += [
            {"image": f"{number}.png", "question": "What color is it?", "answer": colour},
            {"image": f"{number}.png", "question": f"is it {asked}?", "answer": yes_no(asked == colour)},
            {"image": f"{number}.png", "question": f"is it not {asked}?", "answer": yes_no(asked != colour)},
        ]
    (path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


def yes_no(truth):
    return "yes" if truth else "no"


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "coloured"
    assert questions.main(["--dataset", str(folder), *TINY, *SHORT, "--out", str(out), "--trace"]) == 0
    return out


@pytest.fixture(scope="module")
def corpus(folder):
    return data.load(str(folder), (8, 8))


# -- data


def test_a_folder_is_read_as_it_was_written(folder, corpus):
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().split("\n") if line]
    written = {(str(folder / row["image"]), row["question"], row["answer"]) for row in rows}
    read = [
        (part.files[at], question, answer)
        for part in corpus.parts().values()
        for at, question, answer in zip(part.about, part.questions, part.answers, strict=True)
    ]
    assert len(read) == len(rows)
    assert set(read) == written
    files = [set(part.files) for part in corpus.parts().values()]
    assert sum(map(len, files)) == len(set.union(*files)) == 60  # no picture is in two parts
    for part in corpus.parts().values():
        for picture, file in zip(part.pictures, part.files, strict=True):
            colour = list(COLOURS)[int(Path(file).stem) % 3]
            np.testing.assert_allclose(picture.mean(axis=(0, 1)), COLOURS[colour], atol=21)


def test_a_limit_counts_pictures(folder):
    for part in data.load(str(folder), (8, 8), limit=3).parts().values():
        assert len(part.pictures) == 3
        assert len(part) == 9


def test_easy_vqa_and_what_its_questions_tell_without_the_pictures():
    """The numbers of its own README, and the accuracy of a table of answers measured outside this project."""
    corpus = data.easy_vqa((64, 64))
    assert len(corpus.train) + len(corpus.validation) == 38_575
    assert len(corpus.test) == 9_673
    assert [len(part.pictures) for part in corpus.parts().values()][2] == 1000
    assert len(corpus.names) == 13
    names = np.array(corpus.names)
    true, blind = (
        np.searchsorted(names, answers) for answers in (corpus.test.answers, without_looking(corpus))
    )
    found = accuracies("x", true, blind, corpus.names)
    assert found["x_accuracy"] == pytest.approx(0.670, abs=0.01)
    assert found["x_yes_no_accuracy"] == pytest.approx(0.825, abs=0.01)
    assert found["x_other_accuracy"] == pytest.approx(0.233, abs=0.02)


class Clevr:
    """What the builder of CLEVR gives: pictures of number N, with questions about N."""

    def as_dataset(self, split, shuffle_files):
        def rows():
            for number in range({"train": 40, "validation": 5}[split]):
                asked = [f"is it {number}?", "what is it?"][: 1 + number % 2]
                answers = ["yes", str(number)][: len(asked)]
                yield {
                    "image": np.full((6, 4, 3), number, "uint8"),
                    "question_answer": {"question": asked, "answer": answers},
                }

        texts = tf.TensorSpec((None,), tf.string)
        signature = {
            "image": tf.TensorSpec((None, None, 3), tf.uint8),
            "question_answer": {"question": texts, "answer": texts},
        }
        return tf.data.Dataset.from_generator(rows, output_signature=signature)


def test_clevr_is_split_by_pictures_and_tested_on_its_validation_part(monkeypatch):
    monkeypatch.setattr("experiments.common.prepared.builder", lambda name: Clevr())
    corpus = data.load("clevr", (6, 4))
    assert len(corpus.test) == 5 + 2
    assert len(corpus.train) + len(corpus.validation) == 40 + 20
    assert len(corpus.validation.pictures) > 0
    for part in corpus.parts().values():
        for question, answer, about in zip(part.questions, part.answers, part.about, strict=True):
            number = int(part.pictures[about, 0, 0, 0])
            assert (question, answer) in [(f"is it {number}?", "yes"), ("what is it?", str(number))]
    assert [len(part.pictures) for part in data.load("clevr", (6, 4), limit=3).parts().values()][2] == 3


def test_without_looking_the_most_frequent_answer_is_given():
    blank = np.zeros((1, 2, 2, 3), "uint8")
    train = data.Part(blank, [], ["a", "a", "a", "b", "b"], ["x", "y", "y", "x", "x"], [0] * 5)
    test = data.Part(blank, [], ["a", "b", "new"], ["y", "y", "y"], [0] * 3)
    assert without_looking(data.Corpus(train, test, test)) == ["y", "x", "x"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("nonsense\n", "line 1: not JSON"),
        ('{"image": "0.png", "question": "what?"}\n', "line 1: expected"),
        ('\n["0.png"]\n', "line 2: expected"),
        ('{"image": "absent.png", "question": "what?", "answer": "it"}\n', "absent.png"),
        (
            '{"image": "text.png", "question": "what?", "answer": "it"}\n',
            "text.png cannot be read as a picture",
        ),
        (b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        ("", "is too small: its train part has no question"),
    ],
)
def test_a_table_that_is_not_as_expected(tmp_path, capsys, content, sentence):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "questions.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(capsys, ["--dataset", tmp_path, "--out", tmp_path / "run"], sentence)
    assert not (tmp_path / "run.partial").exists()


def assert_refused(capsys, arguments, sentence):
    assert questions.main([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1, error


# -- the network


@pytest.mark.parametrize("inputs", ["both", "question", "picture"])
@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_looking_once_for_all_questions_is_looking_for_each(corpus, inputs, fusion):
    options = questions.train_parser().parse_args([*TINY, "--inputs", inputs, "--fusion", fusion])
    vectorizer = vectorizer_of(corpus.train.questions, 100)
    network = Network(vectorizer.vocabulary_size(), len(corpus.names), options)
    serving = network.serving(vectorizer, corpus.names)
    batches = QuestionBatches(corpus.test, corpus.test.pictures, vectorizer, corpus.names, 5, 0)
    at_once = keras.ops.softmax(network.training().predict(batches.once(), verbose=0))
    order = batches.question_order
    pictures = corpus.test.pictures[np.array(corpus.test.about)[order]]
    asked = np.array(corpus.test.questions, object)[order]
    one_by_one = serving([tf.constant(pictures), tf.constant(asked.tolist())])
    np.testing.assert_allclose(at_once, one_by_one["probabilities"], atol=1e-5)


def test_features_of_a_frozen_backbone_serve_the_training_and_pictures_the_saved_model(
    folder, tmp_path, monkeypatch
):
    def tiny(include_top, weights, input_shape):
        return keras.Sequential([keras.Input(input_shape), keras.layers.Conv2D(5, 3, strides=2)])

    monkeypatch.chdir(tmp_path)
    # the networks of keras.applications take long to build and to export
    monkeypatch.setattr("experiments.common.pictures._application", lambda name: (tiny, lambda x: x / 255))
    arguments = ["--dataset", str(folder), *TINY, *SHORT, "--backbone", "Tiny", "--frozen", "--limit", "4"]
    assert questions.main([*arguments, "--out", "run"]) == 0
    assert len(list((tmp_path / "runs" / "features").glob("*.npy"))) == 3
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    test = data.load(str(folder), (8, 8), limit=4).test
    served = keras_gates.load(tmp_path / "run" / "saved_model")
    answered = served({"pictures": test.pictures[test.about], "questions": test.questions})
    second, first = np.sort(answered["probabilities"], axis=-1)[:, -2:].T
    assert (first - second).min() > 1e-3  # what rounding cannot turn: the training saw features of float16
    right = np.array([given.decode() for given in answered["answers"].numpy()]) == test.answers
    assert metrics["test_accuracy"] == pytest.approx(right.mean(), abs=1e-12)


# -- runs


def test_the_picture_is_looked_at(run, corpus):
    """The saved model answers right what cannot be known from the question, as metrics.json says."""
    metrics = json.loads((run / "metrics.json").read_text())
    served = keras_gates.load(run / "saved_model")
    test = corpus.test
    answered = served({"pictures": test.pictures[test.about], "questions": test.questions})["answers"].numpy()
    right = np.array([given.decode() for given in answered]) == test.answers
    other = ~np.isin(test.answers, ["yes", "no"])
    assert metrics["test_accuracy"] == pytest.approx(right.mean(), abs=1e-12)
    assert metrics["test_other_accuracy"] == pytest.approx(right[other].mean(), abs=1e-12)
    assert metrics["test_yes_no_accuracy"] == pytest.approx(right[~other].mean(), abs=1e-12)
    assert metrics["test_other_accuracy"] > metrics["question_alone_other_accuracy"] + 0.3


def test_a_trace_shows_the_questions_word_by_word(run, folder, tmp_path):
    assert (run / "inspection" / "index.html").is_file()
    out = tmp_path / "inspection"
    assert inspect.main([str(run), f"{folder / '0.png'}: is it red?", "--out", str(out)]) == 0
    assert "reading/lstm_1" in (out / "text-1.html").read_text()
    assert inspect.main([str(run), "is it red?", "--out", str(tmp_path / "other")]) == 2


def test_interrupted_and_resumed_equals_uninterrupted(run, folder, tmp_path, monkeypatch):
    keep = Keeper.on_epoch_end

    def keep_and_stop(self, epoch, logs=None):
        keep(self, epoch, logs)
        if epoch == 4:
            raise KeyboardInterrupt

    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_epoch_end", keep_and_stop)
        assert questions.main(["--dataset", str(folder), *TINY, *SHORT, "--out", str(cut)]) == 130
    assert not cut.exists()
    assert questions.main(["--resume", str(cut)]) == 0
    weights = [keras.saving.load_model(out / "model.keras").get_weights() for out in (run, cut)]
    for mine, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, other)


# -- saved models

SERVE = """
import sys
sys.modules.update(dict.fromkeys(("keras", "keras_gates", "experiments", "PIL")))  # none can be imported
import json
import numpy as np
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
told = []
for height, width in ((9, 7), (1, 1), (40, 30)):
    pictures = np.tile(np.array(json.loads(sys.argv[2]), "uint8"), (1, height, width, 1))
    given = dict(pictures=tf.constant(pictures), questions=tf.constant([sys.argv[3]]))
    told.append(answer(**given)["answers"].numpy()[0].decode())
print(told)
"""


def test_the_saved_model_takes_raw_pictures_of_any_size_where_only_tensorflow_is(run, folder, capsys):
    assert questions.main(["predict", str(run), str(folder / "0.png"), "What color is it?"]) == 0
    expected = capsys.readouterr().out.split("\t")[0]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, run / "saved_model", json.dumps(COLOURS["red"]), "What color is it?"],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
    )
    assert done.stdout.strip() == str([expected] * 3)


def test_the_places_seen_are_those_that_the_answer_depends_on():
    """Of a stand-in for a network that is surer the more red there is in the middle of its top edge."""

    def network(inputs, training):
        pictures, _ = inputs
        red = pictures[:, :2, 14:18, 0].mean(axis=(1, 2)) / 255
        probabilities = tf.constant(np.stack([0.5 + red / 4, 0.5 - red / 4], axis=-1))
        return {"probabilities": probabilities, "answers": tf.constant(["yes"] * len(pictures))}

    picture = np.zeros((32, 32, 3), "uint8")
    picture[:2, 14:18, 0] = 255
    config = {"options": {"size": "32x32"}}
    seen = reading.see(network, config, picture, "is it red?")
    assert seen.words == ["yes"]
    assert seen.probability == 0.75
    # a cover reaches 4 pixels to each side of the middle of its place, pixel 4 · place + 2
    expected = np.zeros((1, 8, 8))
    for column in range(8):
        covers = [abs(at + 0.5 - (4 * column + 2)) <= 4 for at in range(14, 18)]
        left = 0.5 + (1 - sum(covers) / 4) / 4
        expected[0, 0, column] = np.log(3) - np.log(left / (1 - left))
    np.testing.assert_allclose(seen.places, expected, rtol=0, atol=1e-9)


def test_predict_answers_every_question_about_pictures_of_any_kind(run, tmp_path, capsys, monkeypatch):
    red = Image.new("RGB", (1, 1), COLOURS["red"])
    red.save(tmp_path / "one.png")
    red.resize((300, 200)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    red.convert("RGBA").save(tmp_path / "rgba.png")
    answers = []
    for name in ("one.png", "cmyk.jpg", "rgba.png"):
        assert questions.main(["predict", str(run), str(tmp_path / name), "What color is it?"]) == 0
        answers.append(capsys.readouterr().out.split("\t")[0])
    assert len(set(answers)) == 1
    lines = io.BytesIO(b"What color is it?\nis it red?\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines))
    assert questions.main(["predict", str(run), str(tmp_path / "one.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[0] == answers[0]
    assert len(lines) == 2


def test_predict_bad_input(run, folder, tmp_path, capsys):
    picture = folder / "0.png"
    (tmp_path / "text.png").write_text("no picture")
    assert_refused(
        capsys, ["predict", run, tmp_path / "text.png", "is it red?"], "cannot be read as a picture"
    )
    assert_refused(capsys, ["predict", run, tmp_path / "absent.png", "is it red?"], "No such file")
    assert_refused(capsys, ["predict", run, tmp_path, "is it red?"], "Is a directory")
    assert_refused(
        capsys,
        ["predict", run, picture, "何色ですか"],
        "knows no word of the question '何色ですか'; it knows",
    )
    assert_refused(capsys, ["predict", run, picture, "?"], "There is no word in the question '?'")
    assert_refused(capsys, ["predict", tmp_path / "none", picture, "is it red?"], "is not a finished run")


def test_without_the_package_easy_vqa_cannot_be_had(monkeypatch):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.files", missing)
    with pytest.raises(
        InputError, match=r"needs the package easy-vqa: pip install keras_gates\[experiments\]"
    ):
        data.load("easy_vqa", (8, 8))
