"""The report of a comparison: tables, a picture of ranks, and every trial as a row of a CSV file."""

import csv
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.common.errors import InputError
from experiments.common.pages import page
from experiments.compare.intervals import LEVEL, holm, mean_of, paired_p, ranks
from experiments.compare.study import by_trial, finished
from keras_gates._files import written_whole

FILES = ("report.md", "report.html", "trials.csv", "ranks.png")
HEAD = ("cell", "mean", "95 % interval", "seeds", "diverged", "parameters", "seconds", "difference", "p")


class Row(NamedTuple):
    """A finished trial; `metrics` as the worker keeps them, None if it diverged."""

    trial: tuple
    metrics: dict | None


class Table(NamedTuple):
    """The cells on one task.

    title: the task's command line, and the budget.
    measure: the name of the score, and which of higher and lower is better.
    rows: strings under `HEAD`.
    """

    title: str
    measure: str
    rows: list


def write_report(study, out, reference=None, command=""):
    """Write the report of all finished trials into the folder of a comparison; returns its Markdown.

    reference: the cell that the others are compared with; by default the first.
    command: the one that made the trials, which the report shows.

    Raises `InputError` if nothing is finished, or the reference has no trial.
    """
    rows = [
        Row(trial, kept.user_attrs.get("metrics"))
        for trial, several in by_trial(study).items()
        if (kept := finished(several)) is not None
    ]
    if not any(row.metrics for row in rows):
        raise InputError(f"No trial of {out} has a result yet.")
    cells = list(dict.fromkeys(row.trial.cell for row in rows))
    if reference is None:
        reference = cells[0]
    elif reference not in cells:
        raise InputError(f"--reference {reference} has no trial; there are {', '.join(cells)}.")
    tables = tables_of(rows, cells, reference)
    found = ranks_of(rows, cells)
    facts = facts_of(rows, reference, command, found)
    markdown = markdown_of(tables, facts, bool(found))
    content = {
        "report.md": markdown,
        "report.html": page("compare/report.html", head=HEAD, tables=tables, facts=facts, ranks=bool(found)),
    }
    for name, text in content.items():
        with written_whole(out / name, name, replace=True) as path:
            path.write_text(text, encoding="utf-8")
    with written_whole(out / "trials.csv", "trials.csv", replace=True) as path:
        write_trials(rows, path)
    if found:
        with written_whole(out / "ranks.png", "ranks.png", replace=True) as path:
            draw_ranks(*found).savefig(path, dpi=110)
    return markdown


def grouped(rows):
    """The rows of each task and budget, by both."""
    groups = {}
    for row in rows:
        groups.setdefault((row.trial.task, row.trial.budget), []).append(row)
    return groups


def values_of(rows, cell):
    """The scores of a cell by seed."""
    return {row.trial.seed: row.metrics["value"] for row in rows if row.trial.cell == cell and row.metrics}


def tables_of(rows, cells, reference):
    groups = grouped(rows)
    compared = [
        (group, cell, *_pairs(of_task, cell, reference))
        for group, of_task in groups.items()
        for cell in cells
        if cell != reference
    ]
    corrected = holm([paired_p(ours, theirs) for *_, ours, theirs in compared])
    tests = {
        (group, cell): (np.mean(np.subtract(ours, theirs)) if ours else None, p)
        for (group, cell, ours, theirs), p in zip(compared, corrected, strict=True)
    }
    tables = []
    for (task, budget), of_task in groups.items():
        measured = next((row.metrics for row in of_task if row.metrics), None)
        tables.append(
            Table(
                f"{task} ({budget})" if budget else task,
                f"{measured['measure']}, {measured['better']} is better" if measured else "all diverged",
                [
                    _table_row(of_task, cell, *tests.get(((task, budget), cell), (None, None)))
                    for cell in cells
                    if any(row.trial.cell == cell for row in of_task)
                ],
            )
        )
    return tables


def _pairs(rows, cell, reference):
    """The scores of a cell, and those of the reference, of the seeds that both have."""
    ours, theirs = values_of(rows, cell), values_of(rows, reference)
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def _table_row(rows, cell, difference, p):
    of_cell = [row for row in rows if row.trial.cell == cell]
    found = [row.metrics for row in of_cell if row.metrics]
    diverged = str(len(of_cell) - len(found))
    if not found:
        return [cell, "", "", "0", diverged, "", "", "", ""]
    mean = mean_of([metrics["value"] for metrics in found])
    return [
        cell,
        number(mean.value),
        "" if mean.low is None else f"{number(mean.low)} to {number(mean.high)}",
        str(len(found)),
        diverged,
        f"{round(np.mean([metrics['parameters'] for metrics in found])):,}",
        f"{np.mean([metrics['seconds'] for metrics in found]):.0f}",
        "" if difference is None else f"{difference:+.3g}",
        "" if p is None else f"{p:.3f}",
    ]


def number(value):
    return f"{value:.4g}"


def ranks_of(rows, cells):
    """(names of cells, their `Ranks`) over the tasks on which every cell has a score; None if too few."""
    scores = []
    for of_task in grouped(rows).values():
        means = [list(values_of(of_task, cell).values()) for cell in cells]
        if all(means):
            better = next(row.metrics["better"] for row in of_task if row.metrics)
            sign = 1 if better == "higher" else -1
            scores.append([sign * np.mean(values) for values in means])
    if len(scores) < 2 or len(cells) < 2:
        return None
    return cells, ranks(np.array(scores))


def facts_of(rows, reference, command, found):
    """What a reader must know to read the tables, as sentences."""
    versions = next(row.metrics["versions"] for row in rows if row.metrics)
    facts = [
        f"Intervals are {LEVEL:.0%} percentile bootstrap intervals of the mean over seeds; seconds are those "
        "of training on one thread.",
        f"The difference is that from `{reference}` over the seeds that both have; p is that of a "
        "permutation test of the signs of these differences, with Holm's correction for all tests of this "
        "page. With n seeds it is at least 2 / 2**n before the correction.",
    ]
    if found:
        _, of = found
        friedman = "" if of.p is None else f" Friedman's test that all cells are equal: p = {of.p:.3f}."
        facts.append(
            f"Cells whose mean ranks differ by less than {of.critical:.2f} are not told apart by Nemenyi's "
            f"test (Demšar 2006).{friedman}"
        )
    if command:
        facts.append(f"Made by `{command}`.")
    facts.append("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return facts


def markdown_of(tables, facts, has_ranks):
    parts = ["# Cells compared"]
    for table in tables:
        lines = [HEAD, ["---"] * len(HEAD), *table.rows]
        parts.append(f"## {table.title}\n\n{table.measure}")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if has_ranks:
        parts.append("![Mean ranks over tasks](ranks.png)")
    return "\n\n".join([*parts, *facts]) + "\n"


def write_trials(rows, path):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["task", "budget", "cell", "seed", "outcome", "measure", "value", "parameters", "seconds"]
        )
        for trial, metrics in sorted(rows, key=lambda row: row.trial):
            kept = (
                [metrics[name] for name in ("measure", "value", "parameters", "seconds")]
                if metrics
                else [""] * 4
            )
            outcome = "complete" if metrics else "diverged"
            writer.writerow([trial.task, trial.budget, trial.cell, trial.seed, outcome, *kept])


def draw_ranks(cells, found):
    """Mean ranks, the best on top, and how far two must be apart."""
    order = np.argsort(found.mean)[::-1]
    figure = Figure(figsize=(7, 1 + 0.3 * len(cells)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(cells))
    axes.errorbar(found.mean[order], rows, xerr=found.critical / 2, fmt="o", capsize=3)
    axes.set_yticks(rows, [cells[at] for at in order])
    axes.set_xlabel("mean rank over tasks; bars that do not meet tell cells apart")
    axes.grid(axis="x", alpha=0.3)
    return figure
