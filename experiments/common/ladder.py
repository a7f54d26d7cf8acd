"""A ladder: what a network gains from rung to rung, each with options of its own and trained thrice."""

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.run_folder import RunFolder, read_metrics
from keras_gates._files import written_whole

SEEDS = 3


class Rung(NamedTuple):
    """What is different at a rung.

    meaning: what the table says of it.
    changed: options of training, by name.
    """

    meaning: str
    changed: dict


def climb(task, prepare, look, parser, options, title, rungs):
    """Train what is not yet trained, and print and write the table.

    task, prepare, look, parser: as `training.train` takes them.
    options: of training; `out` is the folder of the runs, and `seed` the first seed.
    title: of the column with the meanings.
    rungs: `Rung`s by the names that their runs' folders begin with.
    """
    if options.resume:
        raise InputError("The ladder goes on by itself, without --resume.")
    folder = Path(options.out or f"runs/{task}-ladder")
    seeds = range(options.seed, options.seed + SEEDS)
    runs = {name: {seed: folder / f"{name}-{seed}" for seed in seeds} for name in rungs}
    for name, rung in rungs.items():
        for seed, run in runs[name].items():
            if run.exists():
                continue
            if RunFolder(run).partial.exists():
                chosen = parser.parse_args(["--resume", str(run)])
            else:
                changed = {**rung.changed, "seed": seed, "out": str(run)}
                chosen = argparse.Namespace(**{**vars(options), **changed})
            training.train(task, prepare, look, parser, chosen)
    found = {rung.meaning: list(map(read_metrics, runs[name].values())) for name, rung in rungs.items()}
    with written_whole(folder / "ladder.md", "table", replace=True) as partial:
        partial.write_text(table(title, found), encoding="utf-8")
    print(table(title, found), end="")


def table(title, rungs):
    """A Markdown table with the mean and the standard deviation of every measure of the test.

    rungs: by what a rung means, the metrics of its runs. A measure that a rung does not have is left empty.
    """
    metrics = [run for runs in rungs.values() for run in runs]
    measures = list(
        dict.fromkeys(
            name
            for run in metrics
            for name, value in run.items()
            if name.startswith("test_") and isinstance(value, float)
        )
    )
    rows = [[title, "parameters", *measures], ["---"] * (len(measures) + 2)]
    for meaning, runs in rungs.items():
        cells = [_cell([run[name] for run in runs if name in run]) for name in measures]
        rows.append([meaning, f"{runs[0]['parameters']:,}", *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("_", " ")


def _cell(values):
    if len(values) < SEEDS:
        return ""
    digits = 3 if max(values) <= 1 else 2  # a share, or a score of up to 100
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
