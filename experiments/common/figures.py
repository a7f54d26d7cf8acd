"""Pictures of a run."""

import numpy as np
from matplotlib.figure import Figure

READABLE_CELLS = 20  # numbers are written into a confusion matrix of at most this many labels


def learning_curve(history, path):
    """The loss, and what else was measured in training and validation, over the epochs, as a PNG."""
    measures = [name for name in history[0] if f"val_{name}" in history[0]]
    figure = Figure(figsize=(4.5 * len(measures), 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        axes.plot(epochs, [row[measure] for row in history], "o-", label="training")
        axes.plot(epochs, [row[f"val_{measure}"] for row in history], "o-", label="validation")
        axes.set(xlabel="epoch", ylabel=measure, xticks=epochs)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, format="png", dpi=120)


def confusion(matrix, labels, path):
    """A confusion matrix as a PNG: colours are shares of a true label, numbers are counts.

    matrix: (labels, labels) counts, a row for each true label.
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
