"""The two experiments that look inside: gradients, and the inspection of a finished run."""

import csv
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_gates
from experiments.common import python_source, words
from experiments.common.cells import cell_name
from experiments.common.errors import InputError
from experiments.gradients import __main__ as gradients
from experiments.gradients import data, reach
from experiments.gradients.network import network as gradients_network
from experiments.inspect import __main__ as inspect
from experiments.sentiment import network as sentiment
from experiments.sentiment import reading as sentiment_reading
from experiments.tagging import network as taggers
from experiments.tagging import reading as tagging_reading

CODE = 'def greet(name):\n    # be polite\n    return "Hello, " + name\n'
TEXTS = ["a <br />good film, isn't it", "bad"]


def save_run(path, model, **config):
    """A finished run, as far as an inspection reads it, of a network that has learned nothing."""
    path.mkdir()
    model.save(path / "model.keras")
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def options(**of_task):
    common = {"cell": "lstm", "units": 4, "layers": 1, "dropout": 0.0, "embedding": 3, "bidirectional": False}
    return SimpleNamespace(**{**common, "pool": "mean", "ngrams": 1, "word_dropout": 0.2, **of_task})


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    keras.utils.set_random_seed(0)
    network = taggers.text_network(sorted(set(CODE)), 9, options(bidirectional=True, residual=False))
    return save_run(
        tmp_path_factory.mktemp("runs") / "tagger",
        taggers.serving(network, python_source.TAGS),
        task="tagging",
        reads="characters",
        labels=python_source.TAGS,
        options={"cell": "lstm"},
    )


@pytest.fixture(scope="module")
def reviewer(tmp_path_factory):
    return save_reviewer(tmp_path_factory.mktemp("runs") / "reviewer", "lstm")


def save_reviewer(path, cell):
    keras.utils.set_random_seed(0)
    vectorizer = words.vectorizer(TEXTS, 20)
    network = sentiment.network(vectorizer.vocabulary_size(), 2, options(cell=cell))
    return save_run(
        path,
        sentiment.serving(network, vectorizer),
        task="sentiment",
        labels=("negative", "positive"),
        options={"cell": cell},
    )


def page_data(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text.split('id="data">')[1].split("</script>")[0])


def test_a_tagger_is_inspected_on_code(tagger, tmp_path, capsys):
    source = tmp_path / "some.py"
    source.write_text(CODE, encoding="utf-8")
    out = tmp_path / "inspection"
    assert inspect.main([str(tagger), str(source), "x = 1", "--out", str(out)]) == 0
    assert "inside a string or comment: both_ways_1/" in capsys.readouterr().out
    assert "".join(page_data(out / "text-1.html")["tokens"]) == CODE
    assert "".join(page_data(out / "text-2.html")["tokens"]) == "x = 1"
    index = (out / "index.html").read_text(encoding="utf-8")
    for name in ("gates-1.png", "gates-2.png", "openness.png", "saturation.png", "text-2.html"):
        assert (out / name).stat().st_size > 0 and name in index
    rows = list(csv.reader((out / "gates.csv").open(encoding="utf-8")))
    assert [row[1] for row in rows[1:5]] == ["i", "f", "o", "time constant, steps"]
    assert not list(tmp_path.glob("*.partial"))


def test_labels_of_code_are_those_of_its_tokenizer():
    labels = tagging_reading.read_code([CODE]).labels
    inside = "".join(np.array(list(CODE))[labels["inside a string or comment"][0] == 1])
    assert inside == '# be polite"Hello, "'
    assert "".join(np.array(list(CODE))[labels["column"][0] == 0]) == "d  "


def test_a_review_is_inspected_word_by_word(reviewer):
    model = keras.saving.load_model(reviewer / "model.keras", compile=False)
    config = json.loads((reviewer / "config.json").read_text(encoding="utf-8"))
    reading = sentiment_reading.read(model, config, TEXTS)
    assert reading.tokens == [["a", "good", "film", ",", "isnt", "it"], ["bad"]]
    (so_far,) = reading.labels.values()
    answers = model(keras.ops.convert_to_tensor(["a", "a good", TEXTS[0]]))
    np.testing.assert_allclose(so_far[0][[0, 1, 5]], answers[:, 1], atol=1e-6)


def test_a_text_without_a_word_has_an_answer_and_nothing_to_inspect(reviewer):
    model = keras.saving.load_model(reviewer / "model.keras", compile=False)
    assert np.isfinite(model(keras.ops.convert_to_tensor(["<br>"]))).all()
    with pytest.raises(InputError, match="There is no word in the text"):
        sentiment_reading.read(model, {"labels": ["negative", "positive"]}, ["<br>"])


def test_a_review_page_opens_on_the_swing_of_its_memory(reviewer):
    assert inspect.main([str(reviewer), *TEXTS]) == 0
    assert inspect.main([str(reviewer), *TEXTS]) == 0
    data = page_data(reviewer / "inspection-2" / "text-2.html")
    assert data["chosen"] == ["sentiment/lstm_1", "swing", 4]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "x"], "nowhere is not a finished run: it has no config.json."),
        (["RUN", " "], "The text is empty."),
        (["RUN", "x = ("], "The text is no Python source: "),
        (["RUN", "x = 1", "--out", "."], ". exists; give --out another name."),
    ],
)
def test_an_inspection_says_what_is_wrong(tagger, arguments, sentence, capsys):
    assert inspect.main([str(tagger) if word == "RUN" else word for word in arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert [path.name for path in tagger.iterdir() if path.is_dir()] == []


OWN_CELL = """
from keras_gates.cells import GatedCell

class Average(GatedCell):
    gates, states, remember = ("f",), ("h",), "f"

    def step(self, x, states, recur):
        f = self.recurrent_activation(x + recur(states[0]))
        return (f * states[0] + (1 - f) * 0.5,), {"f": f}
"""


def test_a_cell_in_a_file_is_run_only_if_it_is_named_beside_its_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "own.py").write_text(OWN_CELL)
    cell = f"{tmp_path / 'own.py'}:Average"
    known = keras_gates.cell_classes()
    monkeypatch.setattr("keras_gates.cells.base._CELLS", dict(known))
    run = save_reviewer(tmp_path / "run", cell_name(cell))
    monkeypatch.setattr("keras_gates.cells.base._CELLS", known)  # as in another process
    assert inspect.main([str(run), *TEXTS]) == 2
    assert capsys.readouterr().err.endswith(f"which would be run: give --cell {cell} too.\n")
    assert inspect.main([str(run), *TEXTS, "--cell", cell]) == 0
    assert "f" in [row[1] for row in csv.reader((run / "inspection" / "gates.csv").open(encoding="utf-8"))]


# ---------------------------------------------------------------------------------------------- gradients


def test_copy_problem_asks_for_the_symbol_it_showed():
    inputs, targets = data.copy_problem(np.array([0, 3]), 6, np.random.default_rng(0))
    assert inputs.sum() == 4
    assert inputs[0, 0].argmax() == targets[0] and inputs[1, 3].argmax() == targets[1]
    assert (inputs[:, -1].argmax(axis=-1) == data.SYMBOLS).all()


def test_reach_is_what_each_path_lets_through():
    """With kernels of zero an LSTM's gates are constant: the memory's gradient fades by exactly f a step."""
    model = gradients_network("lstm", 4, 9)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    cell = model.layers[0].cell
    cell.kernel.assign(keras.ops.zeros(cell.kernel.shape))
    cell.recurrent_kernel.assign(keras.ops.zeros(cell.recurrent_kernel.shape))
    inputs, targets = data.copy_problem(np.zeros(3, int), 9, np.random.default_rng(0))
    shares = reach.reach(model, inputs, targets)
    f = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(shares["forget gates"], f ** np.arange(9), rtol=1e-5)
    np.testing.assert_allclose(shares["c"][2:] / shares["c"][1:-1], f, rtol=1e-5)
    assert shares["h"][0] == 1
    np.testing.assert_array_equal(shares["h"][1:], 0)


def test_falls_below():
    assert reach.falls_below(np.array([1, 0.5, 1e-4, 1e-2, 1e-4, 1e-5])) == 2
    assert reach.falls_below(np.array([0, 0.5, 0.1])) is None, "nothing follows the last memory"


def test_gradients_write_numbers_figure_and_table(tmp_path, capsys):
    out = tmp_path / "gradients"
    tiny = ["--cells", "simple", "lstm", "--length", "6", "--units", "4", "--steps", "2", "--batch-size", "2"]
    assert gradients.main([*tiny, "--out", str(out)]) == 0
    rows = list(csv.DictReader((out / "gradients.csv").open(encoding="utf-8")))
    assert len(rows) == 2 * 6 * (1 + 3), "before and after, at every distance: h; and h, c, forget gates"
    assert {float(row["share"]) for row in rows if row["state"] == "h" and row["distance"] == "0"} == {1}
    assert (out / "gradients.png").stat().st_size > 0
    assert (out / "table.md").read_text(encoding="utf-8") in capsys.readouterr().out
    assert gradients.main([*tiny, "--out", str(out)]) == 2
    assert "exists; give --out another name" in capsys.readouterr().err


def test_every_cell_of_the_figure_is_there():
    assert set(gradients.CELLS) <= set(keras_gates.cell_classes())
