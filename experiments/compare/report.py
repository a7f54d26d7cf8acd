"""The report of comparisons: tables, pictures, and every trial as a row of a CSV file."""

import csv
import itertools
import re
import shlex
from typing import NamedTuple

import numpy as np

from experiments.common import figures
from experiments.common.errors import InputError
from experiments.common.pages import page
from experiments.compare.intervals import LEVEL, explained, holm, mean_of, paired_p, ranks
from experiments.compare.page import COLUMNS, TITLE, read_page
from experiments.compare.pictures import draw_curves, draw_ranks, draw_violins
from experiments.compare.search import importance
from experiments.compare.study import by_trial, finished
from keras_gates._files import written_whole

HEAD = ("cell", "mean", "95 % interval", "seeds", "diverged", "parameters", "seconds", "difference", "p")
PICTURES = {
    "ranks": "Mean ranks over tasks",
    "violins": "The values of each cell on each task",
    "curves": "The best validation measure so far, on each task",
}
OF_THIS_MACHINE = ("--out", "--storage", "--jobs", "--heartbeat")  # options that say nothing of the result


class Row(NamedTuple):
    """A finished trial; `metrics` as the worker keeps them, None if it diverged; `settings` by option."""

    trial: tuple
    metrics: dict | None
    settings: dict


class Table(NamedTuple):
    """The cells on one task.

    title: the task's command line, the budget, and how many points were searched.
    measure: the name of the score, and which of higher and lower is better.
    head, rows: strings.
    note: sentences below, or "".
    """

    title: str
    measure: str
    head: tuple
    rows: list
    note: str


class Comparison(NamedTuple):
    """What a report says of a comparison.

    name: that of its folder.
    about: the sentences of its preset, or "".
    command: the one that made its trials, without what is of one machine.
    facts: what a reader must know to read the tables, as sentences.
    pictures: by their kind, of which `PICTURES` has the descriptions.
    """

    name: str
    about: str
    command: str
    tables: list
    facts: list
    pictures: dict
    rows: list


def comparison_of(study, name, reference=None, command="", preset=None):
    """What there is to say of all finished trials of a study.

    reference: the cell that the others are compared with; by default that of the preset, else the first.
    command: the one that made the trials.
    preset: the `Preset` that they follow, if any.

    Raises `InputError` if nothing is finished, or the reference has no trial.
    """
    rows = [
        Row(trial, kept.user_attrs.get("metrics"), kept.user_attrs["settings"])
        for trial, several in by_trial(study).items()
        if (kept := finished(several)) is not None
    ]
    if not any(row.metrics for row in rows):
        raise InputError(f"No trial of {name} has a result yet.")
    cells = list(dict.fromkeys(row.trial.cell for row in rows))
    if reference is None:
        of_preset = preset.reference if preset else None
        reference = of_preset if of_preset in cells else cells[0]
    elif reference not in cells:
        raise InputError(f"--reference {reference} has no trial; there are {', '.join(cells)}.")
    best = best_of_searches(rows)
    found = ranks_of(best, cells)
    command = of_any_machine(command)
    versions = ", ".join(f"{key} {value}" for key, value in versions_of(rows).items())
    published = preset.tasks if preset else {}
    return Comparison(
        name=name,
        about=f"{preset.about} {preset.differs}" if preset else "",
        command=command,
        tables=tables_of(rows, best, cells, reference, published),
        facts=[*facts_of(rows, reference, found), f"Versions: {versions}."],
        pictures=pictures_of(rows, best, found, reference, (command, versions)),
        rows=rows,
    )


def write_report(comparisons, out, stem=None):
    """Write a page of comparisons, its pictures and its CSV file into a folder; returns the names.

    stem: how all names begin; what such a page has of other comparisons stays. Without one, for one
        comparison, the names are those that its own folder has, and the page is written as HTML too.

    Raises `InputError` if there is such a page, but not as this function writes it.
    """
    names = {
        (comparison.name, kind): f"{stem}-{comparison.name}-{kind}.png" if stem else f"{kind}.png"
        for comparison in comparisons
        for kind in PICTURES
    }
    shown = [
        (comparison, [(names[comparison.name, kind], PICTURES[kind]) for kind in comparison.pictures])
        for comparison in comparisons
    ]
    sections, trials = read_page(out / f"{stem}.md") if stem else ({}, {})
    sections |= {comparison.name: section_of(comparison, pictures) for comparison, pictures in shown}
    trials |= {comparison.name: trials_of(comparison) for comparison in comparisons}
    texts = {f"{stem or 'report'}.md": "\n\n".join([TITLE, *sections.values()]) + "\n"}
    if stem is None:
        texts["report.html"] = page("compare/report.html", comparisons=shown)
    table = f"{stem or 'trials'}.csv"
    drawn = {names[of.name, kind]: figure for of in comparisons for kind, figure in of.pictures.items()}
    for name, figure in drawn.items():
        with written_whole(out / name, name, replace=True) as path:
            figures.save_png(figure, path, dpi=110)
    with written_whole(out / table, table, replace=True) as path:
        write_trials(itertools.chain(*trials.values()), path)
    # The pages come last: what is there without them is not read.
    for name, text in texts.items():
        with written_whole(out / name, name, replace=True) as path:
            path.write_text(text, encoding="utf-8")
    for name in set(names.values()) - drawn.keys():
        (out / name).unlink(missing_ok=True)  # of an earlier report, which had more to draw
    return [*texts, table, *drawn]


# -- trials


def best_of_searches(rows):
    """Of each search the row that is best in validation, or one that diverged if all have; all other rows."""
    searches = {}
    for row in rows:
        searches.setdefault(row.trial._replace(number=0), []).append(row)
    return [
        min(several, key=lambda row: row.metrics["cost"] if row.metrics else float("inf"))
        for several in searches.values()
    ]


def grouped(rows):
    """The rows of each task, budget and sampler, by a trial of them without cell, seed and number."""
    groups = {}
    for row in rows:
        groups.setdefault(row.trial._replace(cell="", seed=0, number=0), []).append(row)
    return groups


def title_of(group, points):
    """The title of a group of `grouped`; points: of each of its searches."""
    how = [group.budget] if group.budget else []
    if group.sampler:
        how.append(f"best of {points} in validation, {group.sampler}")
    task = without_folders(group.task)
    return f"{task} ({', '.join(how)})" if how else task


def titles_of(rows):
    """The titles of all groups."""
    return {
        group: title_of(group, 1 + max(row.trial.number for row in several))
        for group, several in grouped(rows).items()
    }


def values_of(rows, cell):
    """The scores of a cell by seed."""
    return {row.trial.seed: row.metrics["value"] for row in rows if row.trial.cell == cell and row.metrics}


def versions_of(rows):
    return next(row.metrics["versions"] for row in rows if row.metrics)


def of_any_machine(command):
    """A command without the options that belong to a machine, and without the folders of files."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        if word in OF_THIS_MACHINE:
            words = words[1:]
        elif word.partition("=")[0] not in OF_THIS_MACHINE:
            kept.append(without_folders(word))
    return shlex.join(kept)


def without_folders(text):
    """A text in which of every absolute path the name of the file is left."""
    return re.sub(r"(?<![^\s'\"=])[/~][^\s'\":]*/", "", text)


# -- tables


def tables_of(rows, best, cells, reference, published):
    """A `Table` of each task.

    published: figures by the task's command line and cell.
    """
    groups, of_searches, titles = grouped(best), grouped(rows), titles_of(rows)
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
    return [
        _table(
            titles[group],
            of_task,
            of_searches[group],
            {cell: tests.get((group, cell), (None, None)) for cell in cells},
            published.get(group.task, {}),
        )
        for group, of_task in groups.items()
    ]


def _table(title, best, rows, tests, published):
    """tests: of each cell, the difference from the reference and its p-value."""
    measured = next((row.metrics for row in best if row.metrics), None)
    searched = any(row.trial.sampler for row in rows)
    lines = []
    for cell in [cell for cell in tests if any(row.trial.cell == cell for row in best)]:
        of_cell = [row for row in best if row.trial.cell == cell]
        diverged = sum(row.trial.cell == cell and row.metrics is None for row in rows)
        lines.append(
            [
                *_table_row(without_folders(cell), of_cell, diverged, *tests[cell]),
                *([_settings_of_best(of_cell)] if searched else []),
                *([published.get(cell, "")] if published else []),
            ]
        )
    return Table(
        title,
        f"{measured['measure']}, {measured['better']} is better" if measured else "all diverged",
        (*HEAD, *(["settings"] if searched else []), *(["published"] if published else [])),
        lines,
        " ".join(filter(None, [_variance_note(best, tests), _importance_note(rows) if searched else ""])),
    )


def _pairs(rows, cell, reference):
    """The scores of a cell, and those of the reference, of the seeds that both have."""
    ours, theirs = values_of(rows, cell), values_of(rows, reference)
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def _table_row(cell, rows, diverged, difference, p):
    found = [row.metrics for row in rows if row.metrics]
    if not found:
        return [cell, "", "", "0", str(diverged), "", "", "", ""]
    mean = mean_of([metrics["value"] for metrics in found])
    return [
        cell,
        number(mean.value),
        "" if mean.low is None else f"{number(mean.low)} to {number(mean.high)}",
        str(len(found)),
        str(diverged),
        f"{round(np.mean([metrics['parameters'] for metrics in found])):,}",
        f"{np.mean([metrics['seconds'] for metrics in found]):.0f}",
        "" if difference is None else f"{difference:+.3g}",
        "" if p is None else f"{p:.3f}",
    ]


def _settings_of_best(rows):
    """The settings of the seed that is best in validation."""
    found = [row for row in rows if row.metrics]
    if not found:
        return ""
    best = min(found, key=lambda row: row.metrics["cost"])
    return ", ".join(f"{name} {value}" for name, value in best.settings.items())


def _variance_note(best, cells):
    share = explained([list(values_of(best, cell).values()) for cell in cells])
    if share is None:
        return ""
    return f"Which cell it is explains {share:.0%} of the variance of a run, the seed the rest."


def _importance_note(rows):
    """How much of the variance of the validation cost each setting explains, in a sentence."""
    shares = importance([(row.trial, row.settings, row.metrics["cost"]) for row in rows if row.metrics])
    if not shares:
        return ""
    listed = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return f"Importance for the validation cost, by fANOVA: {listed}."


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


def facts_of(rows, reference, found):
    """What a reader must know to read the tables, as sentences."""
    facts = [
        f"Intervals are {LEVEL:.0%} percentile bootstrap intervals of the mean over seeds; seconds are those "
        "of training on one thread.",
        f"The difference is that from `{without_folders(reference)}` over the seeds that both have; p is "
        "that of a permutation test of the signs of these differences, with Holm's correction for all tests "
        "of this comparison. With n seeds it is at least 2 / 2**n before the correction.",
    ]
    if any(row.trial.sampler for row in rows):
        facts.append(
            "Of each search, the test of the point that is best in validation counts; violins show all "
            "points, settings are those of the best seed."
        )
    if found:
        _, of = found
        friedman = "" if of.p is None else f" Friedman's test that all cells are equal: p = {of.p:.3f}."
        facts.append(
            f"Cells whose mean ranks differ by less than {of.critical:.2f} are not told apart by Nemenyi's "
            f"test (Demšar 2006).{friedman}"
        )
    return facts


# -- pictures


def pictures_of(rows, best, found, reference, signature):
    """The figures by kind."""
    titles, of_best = titles_of(rows), grouped(best)
    violins, curves = {}, {}
    for group, of_task in grouped(rows).items():
        measured = [row for row in of_task if row.metrics]
        if not measured:
            continue
        values = {}
        for row in measured:
            values.setdefault(without_folders(row.trial.cell), []).append(row.metrics["value"])
        violins[titles[group]] = measured[0].metrics["measure"], values
        curves[titles[group]] = _curves([row for row in of_best[group] if row.metrics], reference)
    figures = {"ranks": draw_ranks(*found, signature)} if found else {}
    return {
        **figures,
        "violins": draw_violins(violins, signature),
        "curves": draw_curves(curves, signature),
    }


def _curves(rows, reference):
    """What `draw_curves` takes of a task: the reference first, then the cells from the best in validation."""
    validated = rows[0].metrics["validated"]
    costs = {}
    for row in rows:
        costs.setdefault(row.trial.cell, []).append(row.metrics["cost"])
    order = sorted(costs, key=lambda cell: (cell != reference, np.mean(costs[cell])))
    of_cell = {
        without_folders(cell): [row.metrics["curve"] for row in rows if row.trial.cell == cell]
        for cell in order
    }
    return validated, validated != "val_loss", of_cell


# -- files


def section_of(comparison, pictures):
    """The part of a page that is about a comparison; pictures: their names and descriptions."""
    parts = [f"## {comparison.name}", *filter(None, [comparison.about]), f"```sh\n{comparison.command}\n```"]
    for table in comparison.tables:
        lines = [table.head, ["---"] * len(table.head), *table.rows]
        parts.append(f"### {table.title}\n\n{table.measure}")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        parts += filter(None, [table.note])
    parts += [f"![{description}]({name})" for name, description in pictures]
    return "\n\n".join([*parts, *comparison.facts])


def trials_of(comparison):
    """Every trial of a comparison as a row of the CSV file."""
    rows = []
    for trial, metrics, settings in sorted(comparison.rows, key=lambda row: row.trial):
        names = ("measure", "value", "cost", "parameters", "seconds")
        kept = [metrics[name] for name in names] if metrics else [""] * len(names)
        point = " ".join(f"--{name}={value}" for name, value in settings.items())
        which = [trial.budget, without_folders(trial.cell), trial.seed, trial.sampler, trial.number]
        outcome = "complete" if metrics else "diverged"
        rows.append([comparison.name, without_folders(trial.task), *which, point, outcome, *kept])
    return rows


def write_trials(rows, path):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
