"""What a trained network does while it reads texts, as pages, pictures and numbers in a folder."""

import csv
from pathlib import Path

import keras
import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

import keras_gates
from experiments.common.errors import InputError, reason_of
from experiments.common.pages import page
from experiments.common.reading import reader_of
from experiments.common.run_folder import load_network, read_config
from keras_gates import introspect
from keras_gates._files import written_whole

MAPPED = 100  # steps in a picture of gates
HEAD = ("layer", "gate", "mean", "shut (< 0.1)", "open (> 0.9)")


def look(run, texts, folder):
    """Trace a finished run on texts; write pages, pictures and numbers into a new folder, or nothing.

    Returns the `Unit` that follows each labelling best, by what the labelling says.

    Raises `InputError` if the run or a text cannot be read.
    """
    run = Path(run)
    config = read_config(run)
    reading, trace = read_and_trace(run, config, texts)
    steps = max(map(len, reading.tokens))
    labels = {what: pad_labels(rows, steps) for what, rows in reading.labels.items()}
    best = {what: introspect.rank_units(trace, numbers)[0] for what, numbers in labels.items()}
    title = f"Inside {run.name}: {config['options']['cell']}"
    with written_whole(folder, "inspection") as partial:
        partial.mkdir()
        write_pages(partial, trace, reading, labels)
        write_pictures(partial, trace, reading)
        write_summary(partial / "gates.csv", trace)
        (partial / "index.html").write_text(index(title, trace, reading, best), encoding="utf-8")
    return best


def read_and_trace(run, config, texts):
    """A `Reading` of the texts, and the trace of the layers that run over its steps."""
    model = load_network(run)
    read = reader_of(config["task"])
    try:
        reading = read(model, config, texts)
    except InputError:
        raise
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # other layers or outputs
        raise InputError(
            f"{run}/model.keras is not a model of experiments.{config['task']}: {reason_of(error)}."
        ) from error
    trace = keras_gates.trace(model, keras.tree.map_structure(as_tensor, reading.inputs))
    # A network beside the one over the steps, such as that which spells words, has steps of its own.
    shape = len(texts), max(map(len, reading.tokens))
    return reading, {
        place: layer
        for place, layer in trace.items()
        if place.startswith(reading.layers) and next(iter(layer.values())).shape[:2] == shape
    }


def as_tensor(array):
    """An array of strings as a tensor; numbers as they are."""
    if array.dtype != object:
        return array
    return keras.ops.convert_to_tensor(array.astype(str).tolist(), dtype="string")


def pad_labels(rows, steps):
    return np.stack([np.concatenate([row, np.full(steps - len(row), np.nan)]) for row in rows])


def write_pages(folder, trace, reading, labels):
    place = next(iter(trace))
    memory = trace[place].get("c", trace[place]["h"])
    chosen = (place, "swing", memory.shape[-1]) if reading.opens_on_swing else None
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
    pyplot.close(figure)  # pyplot keeps every figure that it made until then


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


def write_summary(path, trace):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows_of(trace)])


def joined(tokens):
    """The beginning of a text, in one line."""
    gap = "" if all(len(token) <= 1 for token in tokens) else " "
    return gap.join(tokens).replace("\n", " ")[:80]


def index(title, trace, reading, best):
    """The page that leads to the others."""
    return page(
        "inspect/index.html",
        title=title,
        beginnings=[joined(tokens) for tokens in reading.tokens],
        followers=[
            (what, unit.layer, unit.name, unit.unit, f"{unit.correlation:.3f}") for what, unit in best.items()
        ],
        head=HEAD,
        gates=rows_of(trace),
        has_gates=any(map(introspect.gates_of, trace.values())),
        places=trace,
    )
