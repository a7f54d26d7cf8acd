"""What a decoder gains by seeing more of the text: three networks of a size, each trained thrice."""

import argparse
import statistics
from pathlib import Path

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.run_folder import RunFolder, read_metrics
from experiments.translation import TASK
from experiments.translation.problem import prepare
from keras_gates._files import written_whole
from keras_gates.attention import ATTENTIONS

SEEDS = 3
MEANING = {
    "none": "the states it begins with",
    "context": "the last state at every step",
    **{score: f"all states, by {score} attention" for score in ATTENTIONS},
}


def climb(parser, look, options):
    """Train what is not yet trained, and print and write the table.

    parser: that of training, whose runs the ladder's are.
    options: of training; `out` is the folder of the runs, `seed` the first seed, and `attention` how the
        third rung attends.
    """
    if options.resume or options.attention not in ATTENTIONS:
        raise InputError(
            "The ladder goes on by itself, without --resume, and its --attention is that of the third rung: "
            f"{', '.join(ATTENTIONS)}."
        )
    folder = Path(options.out or f"runs/{TASK}-ladder")
    rungs = {
        rung: [folder / f"{rung}-{seed}" for seed in range(options.seed, options.seed + SEEDS)]
        for rung in ("none", "context", options.attention)
    }
    for rung, runs in rungs.items():
        for seed, run in enumerate(runs, options.seed):
            if run.exists():
                continue
            if RunFolder(run).partial.exists():
                chosen = parser.parse_args(["--resume", str(run)])
            else:
                hard = options.hard and rung in ATTENTIONS
                changed = {"attention": rung, "hard": hard, "seed": seed, "out": str(run)}
                chosen = argparse.Namespace(**{**vars(options), **changed})
            training.train(TASK, prepare, look, parser, chosen)
    found = table({rung: [read_metrics(run) for run in runs] for rung, runs in rungs.items()})
    with written_whole(folder / "ladder.md", "table", replace=True) as partial:
        partial.write_text(found, encoding="utf-8")
    print(found, end="")


def table(rungs):
    """A Markdown table with the mean and the standard deviation of every measure of the runs of each rung."""
    first = next(iter(rungs.values()))[0]
    measures = [name for name in first if name.startswith("test_")]
    rows = [["the decoder sees", "parameters", *measures], ["---"] * (len(measures) + 2)]
    for rung, runs in rungs.items():
        values = [[run[name] for run in runs] for name in measures]
        cells = [f"{statistics.mean(each):.2f} ± {statistics.stdev(each):.2f}" for each in values]
        rows.append([MEANING[rung], f"{runs[0]['parameters']:,}", *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("_", " ")
