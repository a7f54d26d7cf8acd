"""The playground of the book computes what the package computes, and its page shows it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

import keras_gates

PAGE = Path(__file__).parents[1] / "docs" / "playground.html"
CELLS = {
    "lstm": keras_gates.LSTMCell,
    "peephole": keras_gates.PeepholeLSTMCell,
    "coupled": keras_gates.CoupledLSTMCell,
    "gru": keras_gates.GRUCell,
}
TEXT = "a gate, 문이 열린다 🚪"
BIASES = {"i": -0.5, "f": 1.5, "o": 0.25, "u": 2.0, "r": -1.0}


@pytest.fixture(scope="module")
def computed():
    """What the script of the page computes for a cell: weights, inputs, steps, what a gradient keeps."""
    engine = pytest.importorskip("py_mini_racer", reason="runs the script of the page").MiniRacer()
    engine.eval(re.search(r'<script id="cells-and-numbers">(.*?)</script>', PAGE.read_text("utf-8"), re.S)[1])
    engine.eval(
        "function answer(cell, seed, biases, text) {"
        "  const weights = weightsOf(cell, seed, biases);"
        "  const steps = run(cell, weights, text);"
        "  const inputs = Array.from(text, embed);"
        "  return JSON.stringify({weights, steps, inputs, left: reach(cell, steps)});"
        "}"
    )

    def compute(cell, text=TEXT, biases=BIASES, seed=1):
        arguments = ", ".join(json.dumps(argument) for argument in (cell, seed, biases, text))
        return json.loads(engine.eval(f"answer({arguments})"))

    return compute


def traced(cell, answer):
    """What the package computes with the weights of the page, by name and of shape (time, units)."""
    weights, x = answer["weights"], np.array([answer["inputs"]], "float32")
    units = len(weights["recurrent"])
    layer = keras_gates.RNN(CELLS[cell](units), return_sequences=True)
    layer.build(x.shape)
    bias = [weights["bias"], weights["recurrentBias"]] if cell == "gru" else weights["bias"]
    peepholes = [weights["peepholes"][gate] for gate in "ifo"] if cell == "peephole" else []
    layer.set_weights([np.array(w) for w in (weights["kernel"], weights["recurrent"], bias, *peepholes)])
    ((_, names),) = keras_gates.trace(layer, x).items()
    return {name: values[0] for name, values in names.items()}


@pytest.mark.parametrize("cell", CELLS)
def test_the_script_computes_every_gate_and_state_of_the_package(cell, computed):
    answer = computed(cell)
    expected = traced(cell, answer)
    assert {"h"} < set(expected)
    for name, values in expected.items():
        ours = [step[name] for step in answer["steps"]]
        np.testing.assert_allclose(ours, values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_the_thermometer_is_the_product_of_the_keeping_gates(cell, computed):
    answer = computed(cell)
    keep = traced(cell, answer)["u" if cell == "gru" else "f"]
    expected = [np.prod(keep[step + 1 :], axis=0) for step in range(len(keep))]
    np.testing.assert_allclose(answer["left"], expected, atol=1e-5)


def test_with_held_gates_the_memory_neither_takes_nor_loses(computed):
    text = "b" * 20
    filled = computed("lstm", text, {"i": 10, "f": 10, "o": 0})["steps"][-1]["c"]
    assert np.abs(filled).max() > 1
    shut = computed("lstm", text, {"i": -40, "f": 40, "o": 0})["steps"]
    assert np.abs([step["c"] for step in shut]).max() < 1e-12


class Tables(HTMLParser):
    """The rows of the tables of a page: the values of each, by the row's heading."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.values, self.heading = {}, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "tr":
            self.values = []
        elif tag == "th" and given.get("scope") == "row":
            self.heading = ""
        elif tag == "td" and "data-value" in given:
            self.values.append(float(given["data-value"]))

    def handle_data(self, data):
        if self.heading == "":
            self.heading = data

    def handle_endtag(self, tag):
        if tag == "tr" and self.heading:
            self.rows[self.heading], self.heading = self.values, None


@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_browser_shows_the_numbers_without_an_error(language, computed, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    state = {"lang": language, "cell": "peephole", "text": TEXT, "unit": 3, "step": 4, "seed": 2, **BIASES}
    shown = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
            *("--enable-logging=stderr", "--dump-dom", f"{PAGE.as_uri()}#{urlencode(state)}"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "CONSOLE" not in shown.stderr
    assert f'<html lang="{language}">' in shown.stdout
    rows = Tables(shown.stdout).rows
    expected = traced("peephole", computed("peephole", seed=2))
    for name, values in expected.items():
        (ours,) = (row for heading, row in rows.items() if heading.endswith(f" {name}"))
        np.testing.assert_allclose(ours, values[:, 2], atol=1e-5, err_msg=name)


def test_the_page_says_everything_in_both_languages():
    text = PAGE.read_text("utf-8")
    said = [re.search(rf"^  {language}: {{(.*?)^  }},", text, re.S | re.M)[1] for language in ("en", "ko")]
    english, korean = (re.findall(r"(?:^|[,{]) *(\w+): [\"{]", sayings, re.M) for sayings in said)
    assert len(english) > 30
    assert english == korean
    used = {*re.findall(r'data-(?:say|label)="(\w+)"', text), *re.findall(r"say\(\)\.(\w+)", text)}
    assert used <= set(english)


def test_the_page_fetches_nothing():
    assert not re.search(r"https?://|\bsrc=|\bimport\b|fetch\(", PAGE.read_text("utf-8"))
