"""Pictures of a run."""

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from experiments.common.errors import InputError

# matplotlib's own, and usual fonts for scripts that it lacks
FONTS = (
    *("DejaVu Sans", "Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans CJK SC", "NanumGothic", "UnDotum"),
    *("Malgun Gothic", "Yu Gothic", "Microsoft YaHei", "Apple SD Gothic Neo", "Hiragino Sans", "PingFang SC"),
    *("Noto Sans Thai", "Noto Sans Arabic", "Noto Sans Devanagari", "Arial Unicode MS"),
)
READABLE_CELLS = 20  # numbers are written into a confusion matrix of at most this many labels


def asked_for(draws):
    """Those functions that draw, by the path to draw to, whose path is not None.

    Raises `InputError` if the folder of a path does not exist: before the work, not after it.
    """
    wanted = {Path(path): draw for path, draw in draws if path is not None}
    for path in wanted:
        if not path.absolute().parent.is_dir():
            raise InputError(f"There is no folder {path.absolute().parent}.")
    return wanted


def save_png(figure, path, dpi):
    """Save a figure as a PNG of at most 256 colours, which look the same in less than half of the bytes."""
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=dpi)
    colours = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
    Image.open(whole).convert("RGB").quantize(256, **colours).save(path, format="PNG", optimize=True)


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
    save_png(figure, path, dpi=120)


def confusion(matrix, labels, path):
    """A confusion matrix as a PNG: colours are shares of a true label, numbers are counts.

    matrix: (labels, labels) counts, a row for each true label.
    """
    fonts = [name for name in FONTS if name in font_manager.get_font_names()]
    with matplotlib.rc_context({"font.family": fonts}):
        _confusion(matrix, labels if _has_glyphs(fonts, labels) else None, path)


def _has_glyphs(fonts, labels):
    """Whether the fonts together have every character of the labels."""
    paths = [font_manager.findfont(name) for name in fonts]
    known = {code for path in paths for code in font_manager.get_font(path).get_charmap()}
    return known.issuperset(map(ord, "".join(labels)))


def _confusion(matrix, labels, path):
    """The picture; without labels, they are numbers, which count from 1 in the order of config.json."""
    note = "" if labels else " (number in config.json)"
    labels = labels or range(1, len(matrix) + 1)
    size = max(4.0, 0.5 * len(labels) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    axes.set(xlabel=f"predicted{note}", ylabel=f"true{note}", xticks=ticks, yticks=ticks, yticklabels=labels)
    axes.set_xticklabels(list(labels), rotation=45, ha="right")
    if len(labels) <= READABLE_CELLS:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    save_png(figure, path, dpi=120)
