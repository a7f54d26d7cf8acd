"""Figures and tables of a run."""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

READABLE_CELLS = 20  # numbers are written into a confusion matrix of at most so many labels


def learning_curve(history, path):
    """Loss and accuracy of training and validation over the epochs, as a PNG."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[measure] for row in history], "o-", label="training")
        axes.plot(epochs, [row[f"val_{measure}"] for row in history], "o-", label="validation")
        axes.set(xlabel="epoch", ylabel=measure, xticks=epochs)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png", dpi=120)


def confusion(matrix, labels, path):
    """A confusion matrix as a PNG: colours are shares of a true label, numbers are counts.

    matrix: (labels, labels) counts, a row per true label.
    """
    size = max(4.0, 0.5 * len(labels) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    axes.set(xlabel="predicted", ylabel="true", xticks=ticks, yticks=ticks, yticklabels=labels)
    axes.set_xticklabels(labels, rotation=45, ha="right")
    if len(labels) <= READABLE_CELLS:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, format="png", dpi=120)


def confusion_matrix(true, predicted, labels):
    """Counts (labels, labels), a row per true label, from whole-number labels of the same shape."""
    flat = np.asarray(true) * labels + np.asarray(predicted)
    return np.bincount(flat.ravel(), minlength=labels**2).reshape(labels, labels)


def f1(matrix):
    """F1 per label, shape (labels,), from a confusion matrix; 0 for a label neither true nor predicted."""
    found = np.diag(matrix)
    return 2 * found / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)


def per_label(matrix, labels):
    """Precision, recall, F1 and number of every label that occurs, by name, from a confusion matrix."""
    found, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    columns = (found / np.maximum(predicted, 1), found / np.maximum(true, 1), f1(matrix), true)
    return {
        label: {"precision": precision, "recall": recall, "f1": score, "number": int(number)}
        for label, precision, recall, score, number in zip(
            labels, *map(np.ndarray.tolist, columns), strict=True
        )
        if number
    }


def label_table(measures):
    """What `per_label` found, as a table with a label a line."""
    width = max(map(len, measures))
    lines = [f"{'':<{width}}  precision  recall      f1    number"]
    for label, of in measures.items():
        scores = f"{of['precision']:9.4f}  {of['recall']:6.4f}  {of['f1']:6.4f}"
        lines.append(f"{label:<{width}}  {scores}  {of['number']:8,}")
    return "\n".join(lines)


def summary(metrics):
    """The measures of a run, one a line, to four places; before them those of the labels, if there."""
    lines = {name: value for name, value in metrics.items() if not isinstance(value, dict)}
    width = max(map(len, lines))
    measures = "\n".join(
        f"{name.replace('_', ' '):<{width}}  {f'{value:.4f}' if isinstance(value, float) else value}"
        for name, value in lines.items()
    )
    return f"{label_table(metrics['per_label'])}\n\n{measures}" if "per_label" in metrics else measures


COLUMNS = ("cell", "parameters", "seconds_per_epoch", "epochs", "test_accuracy", "test_f1", "seed")


def table(runs, columns=COLUMNS):
    """Finished runs as a Markdown table, one run a row.

    runs: paths of run folders.
    columns: names of metrics, or of options where no metric has that name.
    """
    rows = [columns, ["---"] * len(columns)]
    for run in map(Path, runs):
        config, metrics = (
            json.loads((run / name).read_text(encoding="utf-8")) for name in ("config.json", "metrics.json")
        )
        known = {**config["options"], **metrics}
        rows.append([_cell(known.get(column, "")) for column in columns])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("_", " ")


def _cell(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if value < 1 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print finished runs side by side as a Markdown table.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument(
        "--columns", default=",".join(COLUMNS), help="names of metrics or options, with commas between them"
    )
    options = parser.parse_args()
    print(table(options.runs, options.columns.split(",")))
