"""The pictures of a report; each bears the command that made its trials, and the versions."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLOURED = 4  # cells of which a curve has a colour; with more, none can be found again
SPREAD = 30  # ratio of the largest to the smallest value from which logarithms are drawn


def draw_ranks(cells, found, signature):
    """Mean ranks, the best on top, and how far two must be apart.

    found: the `Ranks` of the cells.
    """
    order = np.argsort(found.mean)[::-1]
    figure = Figure(figsize=(7, 1.2 + 0.3 * len(cells)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(cells))
    axes.errorbar(found.mean[order], rows, xerr=found.critical / 2, fmt="o", capsize=3)
    axes.set_yticks(rows, [cells[at] for at in order])
    axes.set_xlabel("mean rank over tasks; bars that do not meet tell cells apart")
    axes.grid(axis="x", alpha=0.3)
    return _signed(figure, signature)


def draw_violins(groups, signature):
    """The values of every task as violins, a cell each, with all values as points.

    groups: by the title of a task, the name of the measure and the values of each cell.
    """
    most = max(len(of_cell) for _, of_cell in groups.values())
    figure = Figure(figsize=(max(6, 1 + 0.45 * most), 4 * len(groups)), layout="constrained")
    for axes, (title, (measure, of_cell)) in zip(_rows(figure, groups), groups.items(), strict=True):
        shown, scale = _scaled(of_cell.values())
        at = range(1, len(shown) + 1)
        axes.violinplot(shown, positions=at, widths=0.8, showextrema=False, showmeans=True)
        for place, values in zip(at, shown, strict=True):
            axes.plot([place] * len(values), values, "k.", markersize=3)
        axes.set_xticks(at, of_cell, rotation=90)
        axes.set_title(_wrapped(title), fontsize="small")
        axes.set_ylabel(f"{scale}{measure}")
        axes.grid(axis="y", alpha=0.3)
    return _signed(figure, signature)


def draw_curves(groups, signature):
    """The best validation measure so far over the epochs: means over runs, and bands from least to most.

    A run that has ended keeps its last value, as it keeps the weights of its best epoch. The first cells of
    a group have colours, the others are grey.

    groups: by the title of a task, the name of the measure, whether higher is better, and the curves of each
        cell.
    """
    figure = Figure(figsize=(7, 3 * len(groups)), layout="constrained")
    for axes, (title, (measure, higher, of_cell)) in zip(_rows(figure, groups), groups.items(), strict=True):
        longest = max(len(curve) for curves in of_cell.values() for curve in curves)
        epochs = np.arange(1, longest + 1)
        best = {cell: _best_so_far(curves, longest, higher) for cell, curves in of_cell.items()}
        shown, scale = _scaled(best.values())
        for at, (cell, curves) in enumerate(zip(best, shown, strict=True)):
            named = {"color": f"C{at}", "label": cell} if at < COLOURED else {"color": "0.8", "zorder": 1}
            (line,) = axes.plot(epochs, curves.mean(axis=0), **named)
            if at < COLOURED:
                band = curves.min(axis=0), curves.max(axis=0)
                axes.fill_between(epochs, *band, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set_title(_wrapped(title), fontsize="small")
        axes.set_ylabel(f"{scale}{measure}")
        axes.legend(fontsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    axes.set_xlabel("epoch")
    return _signed(figure, signature)


def _best_so_far(curves, longest, higher):
    """Curves (runs, longest), each the best of its epochs so far, the last one repeated."""
    best = np.maximum if higher else np.minimum
    return np.array(
        [np.pad(best.accumulate(curve), (0, longest - len(curve)), mode="edge") for curve in curves]
    )


def _scaled(several):
    """Arrays, or if their values are spread wide their logarithms, and what that does, in words."""
    several = [np.asarray(values) for values in several]
    values = np.concatenate([values.ravel() for values in several])
    if values.min() > 0 and values.max() > SPREAD * values.min():
        return [np.log10(values) for values in several], "log10 of "
    return several, ""


def _rows(figure, groups):
    return figure.subplots(len(groups), squeeze=False)[:, 0]


def _wrapped(text, width=90):
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))


def _signed(figure, signature):
    text = "\n".join(_wrapped(line, 130) for line in signature)
    figure.supxlabel(text, fontsize=6, color="0.4", x=0.01, ha="left")
    return figure
