"""What a trained network does inside while it reads a text: `python -m experiments.inspect RUN TEXT`."""

import csv
import html
import json
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import Figure

import keras_gates
from experiments.common import highlight, training
from experiments.common.batches import pad
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line
from experiments.sentiment import __main__ as sentiment
from experiments.tagging import __main__ as tagging
from experiments.tagging.data import python_source
from experiments.tagging.network import PADDING
from keras_gates import introspect
from keras_gates.layers.text import standardize_words

LONGEST = 1500  # characters of a text that are shown
MAPPED = 100  # steps in a picture of gates
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 2em auto; max-width: 1000px; padding: 0 1em; color: #1d2329; font: 15px/1.5 sans-serif; }}
h1 {{ font-size: 21px; }} h2 {{ font-size: 16px; margin-top: 2em; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
td, th {{ padding: 3px 12px; text-align: left; border-bottom: 1px solid #dfe4e8; font-weight: normal; }}
th {{ color: #66717c; font-size: 13px; }} td.number {{ text-align: right; }} img {{ max-width: 100%; }}
a {{ color: #1f5f99; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


class Reading(NamedTuple):
    """Some texts as a network reads them.

    inputs: what the saved network takes.
    tokens: a list for each text, one string for each step.
    labels: by what they say, an array for each text, one number for each step.
    swings: whether the page opens on how much each step changes the memory, rather than on one unit.
    """

    inputs: np.ndarray
    tokens: list
    labels: dict
    swings: bool


# -- the tasks


def read_reviews(model, config, texts):
    """Words, and after each of them how probable the last label is, had the text ended there."""
    cleaned = standardize_words(np.array(texts, object)).numpy()
    tokens = [text.decode().split() for text in cleaned]
    if not all(tokens):
        raise InputError(f"There is no word in the text {texts[tokens.index([])]!r}.")
    ids = model.get_layer("words")(np.array(texts, object)).numpy()
    network = model.get_layer(sentiment.TASK)
    so_far = []
    for row, read in zip(ids, tokens, strict=True):
        prefixes = np.tril(np.tile(row[: len(read)], (len(read), 1)))
        so_far.append(softmax(network.predict(prefixes, batch_size=64, verbose=0))[:, -1])
    label = config["labels"][-1]
    return Reading(np.array(texts, object), tokens, {f"{label} so far": so_far}, swings=True)


def read_code(model, config, texts):
    """Characters; whether each is inside a string or comment, by Python's own tokenizer, and its column."""
    # The tokenizer needs the whole text, the network reads its beginning.
    kinds = [np.array(python_source.TAGS)[tags_of_code(text)][:LONGEST] for text in texts]
    texts = [text[:LONGEST] for text in texts]
    labels = {
        "inside a string or comment": [np.isin(kind, ("string", "comment")).astype(float) for kind in kinds],
        "inside a string": [(kind == "string").astype(float) for kind in kinds],
        "column": [columns(text) for text in texts],
    }
    return Reading(np.array(texts, object), [list(text) for text in texts], labels, swings=False)


def read_sentences(model, config, texts):
    """Words; for each tag that the network gives, whether it gives it here."""
    tokens = [highlight.split_words(text) for text in texts]
    inputs = pad(tokens, PADDING, object)
    tags = [row[: len(read)] for row, read in zip(model(inputs)["tags"].numpy(), tokens, strict=True)]
    found = sorted({tag.decode() for row in tags for tag in row})
    labels = {tag: [(row == tag.encode()).astype(float) for row in tags] for tag in found}
    return Reading(inputs, tokens, labels, swings=False)


READERS: dict[str, Callable] = {"texts": read_reviews, "characters": read_code, "words": read_sentences}


def tags_of_code(text):
    try:
        return python_source.label(text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"The text is no Python source: {error.args[0]}.") from error


def columns(text):
    """How many characters of its line stand before each character."""
    starts = np.maximum.accumulate([at if at == 0 or text[at - 1] == "\n" else 0 for at in range(len(text))])
    return np.arange(len(text), dtype=float) - starts


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# -- what is written


def look(run, texts, folder):
    """Trace a finished run on texts; write pages, pictures and numbers into a new folder, or nothing.

    Returns the `Unit` that follows each labelling best, by what the labelling says.
    """
    config = json.loads((Path(run) / "config.json").read_text(encoding="utf-8"))
    model = keras.saving.load_model(Path(run) / "model.keras", compile=False)
    reading = READERS[config.get("reads", "texts")](model, config, texts)
    trace = keras_gates.trace(model, as_tensor(reading.inputs))
    # A network beside the one over the steps, such as that which spells words, has steps of its own.
    steps = max(map(len, reading.tokens))
    trace = {
        place: layer
        for place, layer in trace.items()
        if next(iter(layer.values())).shape[:2] == (len(texts), steps)
    }
    labels = {what: pad_labels(rows, steps) for what, rows in reading.labels.items()}
    best = {what: introspect.rank_units(trace, numbers)[0] for what, numbers in labels.items()}
    folder = Path(folder)
    beside = folder.with_name(f"{folder.name}.partial")
    beside.mkdir(parents=True, exist_ok=True)
    write_pages(beside, trace, reading, labels)
    write_pictures(beside, trace, reading)
    write_summary(beside / "gates.csv", trace)
    title = f"Inside {Path(run).name}: {config['options']['cell']}"
    (beside / "index.html").write_text(index(title, trace, reading, best), encoding="utf-8")
    beside.rename(folder)
    return best


def as_tensor(strings):
    return keras.ops.convert_to_tensor(strings.astype(str).tolist(), dtype="string")


def pad_labels(rows, steps):
    return np.stack([np.concatenate([row, np.full(steps - len(row), np.nan)]) for row in rows])


def write_pages(folder, trace, reading, labels):
    place = next(iter(trace))
    memory = trace[place].get("c", trace[place]["h"])
    chosen = (place, "swing", memory.shape[-1]) if reading.swings else None
    for number, tokens in enumerate(reading.tokens):
        text = introspect.page(
            trace, tokens, number, labels, chosen, title=f"Text {number + 1}, coloured by a unit"
        )
        (folder / f"text-{number + 1}.html").write_text(text, encoding="utf-8")


def write_pictures(folder, trace, reading):
    """Gate maps of the beginning of the first text, and the statistics of all."""
    tokens = [shown(token) for token in reading.tokens[0][:MAPPED]]
    for number, layer in enumerate(trace.values()):
        start = {name: values[:, : len(tokens)] for name, values in layer.items()}
        save(introspect.plots.gate_maps(start, tokens), folder / f"gates-{number + 1}.png")
    if any(map(introspect.gates_of, trace.values())):
        save(introspect.plots.openness(trace), folder / "openness.png")
        save(introspect.plots.saturation_scatter(trace), folder / "saturation.png")


def save(figure: Figure, path):
    figure.savefig(path, dpi=110)
    figure.clear()


def shown(token):
    return {"\n": "⏎", " ": "␣", "$": r"\$"}.get(token, token)


def rows_of(trace):
    """The `introspect.summary` of a trace, a row for each gate."""
    for place, entries in introspect.summary(trace).items():
        for gate, entry in entries.items():
            if isinstance(entry, dict):
                yield place, gate, *(f"{entry[key]:.3f}" for key in ("mean", "shut", "open"))
            else:
                yield place, "time constant, steps", f"{entry:.1f}", "", ""


HEAD = ("layer", "gate", "mean", "shut (< 0.1)", "open (> 0.9)")


def write_summary(path, trace):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows_of(trace)])


def index(title, trace, reading, best):
    links = "".join(
        f'<li><a href="text-{number + 1}.html">Text {number + 1}</a>: {html.escape(joined(tokens))} …</li>'
        for number, tokens in enumerate(reading.tokens)
    )
    followers = [
        (what, unit.layer, unit.name, unit.unit, f"{unit.correlation:.3f}") for what, unit in best.items()
    ]
    maps = "".join(
        f'<h2>{html.escape(place)}</h2><img src="gates-{number + 1}.png" alt="gates of {html.escape(place)}">'
        for number, place in enumerate(trace)
    )
    body = (
        f"<h2>Texts, coloured by a unit of your choice</h2><ul>{links}</ul>"
        f"<h2>Units that follow</h2>{as_table(('what', 'layer', 'state', 'unit', 'correlation'), followers)}"
        f"<h2>Gates</h2>{as_table(HEAD, rows_of(trace))}"
    )
    if any(map(introspect.gates_of, trace.values())):
        body += (
            '<p><img src="openness.png" alt="openness"></p><p><img src="saturation.png" alt="saturation"></p>'
        )
    return PAGE.format(title=html.escape(title), body=body + maps)


def joined(tokens):
    """The beginning of a text, in one line."""
    gap = "" if all(len(token) <= 1 for token in tokens) else " "
    return gap.join(tokens).replace("\n", " ")[:80]


def as_table(head, rows):
    def line(row, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row) + "</tr>"

    return f"<table>{line(head, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


# -- the command line


def inspect(parser, options):
    config_of(options.run)
    texts = [tagging.text_of([text])[0] for text in options.text]
    if not all(map(str.strip, texts)):
        raise InputError("The text is empty.")
    folder = Path(options.out) if options.out else training.free_path(Path(options.run) / "inspection")
    if folder.exists():
        raise InputError(f"{folder} exists; give --out another name.")
    for what, unit in look(options.run, texts, folder).items():
        print(f"{what}: {unit.layer} {unit.name}[{unit.unit}], correlation {unit.correlation:.3f}")
    print(f"Open {folder / 'index.html'}")


def config_of(run):
    for name in ("config.json", "model.keras"):
        if not (Path(run) / name).is_file():
            raise InputError(f"{run} is not a finished run: it has no {name}.")


def main(arguments=None):
    parser = Parser(
        prog="python -m experiments.inspect",
        description="Show what a trained network does inside while it reads texts: every gate and memory.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="a text, or a file")
    parser.add_argument(
        "--out", metavar="FOLDER", help="what to write; by default the next free RUN/inspection"
    )
    return command_line({"inspect": (parser, inspect)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
