"""The results of a finished run: measures, pictures and models in its folder, and a summary on the screen."""

import csv
import platform
import statistics

import keras
import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common import figures
from experiments.common.fitting import best_epoch


def versions():
    """The versions on which a result depends, to the last bit."""
    modules = (keras, keras_gates, np, tf)
    return {
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in modules},
    }


def metrics_of(problem, measures, history, options):
    """The content of metrics.json: the measures of the test part, and how they were obtained."""
    return dict(
        **measures,
        **({"main_measure": _main_measure(problem.main_measure, measures)} if problem.main_measure else {}),
        parameters=problem.model.count_params(),
        seconds_per_epoch=round(statistics.median(row["seconds"] for row in history), 2),
        epochs=len(history),
        best_epoch=best_epoch(history),
        cell=options.cell,
        dataset=options.dataset,
        examples=problem.facts["examples"],
        seed=options.seed,
        versions=versions(),
    )


def _main_measure(main, measures):
    """The main measure: its name, its value, and which of "higher" and "lower" is better."""
    return {**main._asdict(), "value": measures[main.name]}


def write_results(folder, problem, history, metrics, confusion, card):
    """Write all results of a run into its folder, and give the folder its final name.

    card: the text of its model card; None to keep the figures alone.
    """
    folder.write_json("metrics.json", metrics)
    folder.write("history.csv", lambda path: _write_history(path, history))
    if card is not None:
        _write_model(folder, problem, history, confusion, card)
    folder.finish()


def _write_model(folder, problem, history, confusion, card):
    """Write what a run has beside its figures: the card, the pictures and the model."""
    folder.write("README.md", lambda path: path.write_text(card, encoding="utf-8"))
    folder.write("learning_curve.png", lambda path: figures.learning_curve(history, path))
    if confusion is not None:
        folder.write("confusion.png", lambda path: figures.confusion(confusion, problem.labels, path))
    for name, save in problem.files(problem.model).items():
        folder.write(name, save)
    model = problem.serving(problem.model)
    folder.write("model.keras", model.save)
    metadata = {"classes": problem.labels, **problem.metadata}
    keras_gates.export(model, folder.partial / "saved_model", metadata=metadata, write=problem.write)


def _write_history(path, history):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=history[0])
        writer.writeheader()
        writer.writerows(history)


def summary(metrics):
    """The measures of a run, one per line, with four decimals; before them those of each label, if any."""
    lines = {name: value for name, value in metrics.items() if not isinstance(value, dict)}
    width = max(map(len, lines))
    measures = "\n".join(
        f"{name.replace('_', ' '):<{width}}  {f'{value:.4f}' if isinstance(value, float) else value}"
        for name, value in lines.items()
    )
    return f"{_label_table(metrics['per_label'])}\n\n{measures}" if "per_label" in metrics else measures


def _label_table(per_label):
    """The measures of each label, as `metrics.Classification` has them, as a table, one label per line."""
    width = max(map(len, per_label))
    lines = [f"{'':<{width}}  precision  recall      f1    number"]
    for label, of in per_label.items():
        scores = f"{of['precision']:9.4f}  {of['recall']:6.4f}  {of['f1']:6.4f}"
        lines.append(f"{label:<{width}}  {scores}  {of['number']:8,}")
    return "\n".join(lines)
