"""Compare cells on tasks over seeds: `python -m experiments.compare [run|report] …`."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

import keras_gates
from experiments.common.cells import cell_name
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, whole
from experiments.compare.driver import drive
from experiments.compare.plan import budget, task_line, trials
from experiments.compare.presets import PRESETS
from experiments.compare.report import comparison_of, write_report
from experiments.compare.search import SAMPLERS
from experiments.compare.study import open_study
from experiments.compare.worker import work
from keras_gates._files import written_whole

PLAN = "plan.json"
HEARTBEAT = 10
SEEDS = 5


def run(parser, options):
    """Run all trials that have no result yet, then report."""
    wanted = wanted_trials(options)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    storage = options.storage or default_storage(out)
    study = open_study(storage, options.heartbeat)
    command = f"{parser.prog} {shlex.join(options.given)}"
    plan = {"command": command, "storage": storage, "preset": options.preset}
    with written_whole(out / PLAN, PLAN, replace=True) as path:
        path.write_text(json.dumps(plan) + "\n", encoding="utf-8")
    failed = drive(study, wanted, out, options.jobs, storage, options.heartbeat)
    if len(failed) < len(wanted):
        name, preset = out.resolve().name, PRESETS.get(options.preset)
        print(written(out, comparison_of(study, name, options.reference, command, preset)))
    if failed:
        trial, sentence = next(iter(failed.items()))
        raise InputError(
            f"{len(failed)} of {len(wanted)} trials failed, the first ({trial.name()}): {sentence}"
        )


def wanted_trials(options):
    """The trials that the options ask for; what they do not give is that of the preset.

    Raises `InputError` without tasks, and for a sampler without a search.
    """
    preset = PRESETS.get(options.preset)
    if not preset and not options.tasks:
        raise InputError("Give --tasks, or --preset with the name of a comparison; --help lists them.")
    if options.sampler and not options.search:
        raise InputError("--sampler belongs to a search: give --search N too, the points of each.")
    return trials(
        options.tasks or list(preset.tasks),
        options.cells or (preset and preset.cells) or list(keras_gates.cell_classes()),
        options.seeds or (preset.seeds if preset else SEEDS),
        options.budget or (preset and preset.budget),
        (options.sampler or SAMPLERS[0]) if options.search else "",
        options.search or 1,
    )


def report(parser, options):
    """Write the report of comparisons, finished or not."""
    folders = [Path(run) for run in options.runs]
    found = [_comparison_in(folder, options.reference) for folder in folders]
    if options.page is None:
        for folder, comparison in zip(folders, found, strict=True):
            print(written(folder, comparison))
        return
    if not options.page.absolute().parent.is_dir():
        raise InputError(f"--page: there is no folder {options.page.absolute().parent}.")
    if len({comparison.name for comparison in found}) < len(found):
        raise InputError("Two of the folders have the same name, by which a page tells them apart.")
    names = write_report(found, options.page.parent, options.page.stem)
    print(f"Written to {options.page.parent}: {', '.join(names)}")


def written(folder, comparison):
    """Write the report of a comparison into its folder; returns what is printed."""
    names = write_report([comparison], folder)
    text = (folder / names[0]).read_text(encoding="utf-8")
    return f"{text}Written to {folder}: {', '.join(names)}"


def _comparison_in(folder, reference):
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        storage, command = plan["storage"], plan["command"]
        preset = PRESETS[plan["preset"]] if plan["preset"] else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} is not the folder of a comparison: it has no readable {PLAN}.") from error
    return comparison_of(open_study(storage, HEARTBEAT), folder.resolve().name, reference, command, preset)


def work_here(parser, options):
    work(Path(options.run), options.slot, options.storage, options.heartbeat)


def default_storage(out):
    return f"sqlite:///{(out / 'study.db').absolute()}"


def run_parser():
    parser = Parser(
        prog="python -m experiments.compare",
        description="Train cells on tasks over seeds, each run in a process of its own, and report means "
        "with intervals. After any interruption the same command continues; one with more cells, tasks, "
        "seeds or points of a search adds them.",
        epilog="Report again, also while trials run, with: python -m experiments.compare report RUN. Presets "
        "are " + " ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items()),
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        type=task_line,
        metavar="TASK",
        help="each as after `python -m experiments.`, in quotes: 'synthetic --task adding --length 50'",
    )
    parser.add_argument(
        "--cells",
        nargs="+",
        type=cell_name,
        metavar="CELL",
        help="short names, or path.py:Class for a cell of your own; by default all cells",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        metavar="NAME",
        help="take tasks, cells, budget and seeds from a comparison below, those that are not given; the "
        "report has its published figures too",
    )
    parser.add_argument("--seeds", type=whole(1), help=f"runs of each cell on each task; by default {SEEDS}")
    parser.add_argument(
        "--budget",
        type=budget,
        help="parameters=N: as many units as give the network at most so many parameters; or units=N; by "
        "default what the task has",
    )
    parser.add_argument(
        "--search",
        type=whole(1),
        metavar="N",
        help="for each task, cell and seed, try N settings of learning rate, dropout and, without a budget, "
        "units; the test of the one that is best in validation counts. Options that a task gives are kept",
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        help="how a search draws its settings: each by itself, or by the results of the earlier ones; by "
        f"default {SAMPLERS[0]}",
    )
    parser.add_argument("--jobs", type=whole(1), default=os.cpu_count() or 1, help="runs side by side")
    parser.add_argument("--out", metavar="RUN", default="runs/compare", help="the folder of the comparison")
    add_storage(parser)
    add_reference(parser)
    return parser


def page_name(text):
    """The type of a page in Markdown."""
    path = Path(text)
    if path.suffix != ".md":
        raise argparse.ArgumentTypeError(f"{text!r} is not a file named .md")
    return path


def report_parser():
    parser = Parser(
        prog="python -m experiments.compare report", description="Write the report of comparisons."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a comparison")
    parser.add_argument(
        "--page",
        type=page_name,
        metavar="FILE.md",
        help="write all of them to one page, its pictures and its CSV file beside it, without the names of "
        "folders of this machine; what the page has of other comparisons stays. By default each has a report "
        "in its own folder",
    )
    add_reference(parser)
    return parser


def work_parser():
    parser = Parser(
        prog="python -m experiments.compare work",
        description="Take trials from the queue until none is left; `run` starts such workers.",
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a comparison")
    parser.add_argument("slot", type=whole(0), help="number of the worker in this folder")
    add_storage(parser)
    return parser


def add_storage(parser):
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="the database of the trials, such as postgresql+psycopg2://host/name for several machines; by "
        "default a file in the folder",
    )
    parser.add_argument(
        "--heartbeat",
        type=whole(1),
        default=HEARTBEAT,
        help="seconds between two signs of life of a worker; one that misses three is taken for dead",
    )


def add_reference(parser):
    parser.add_argument(
        "--reference",
        metavar="CELL",
        help="the cell that the others are tested against; by default that of the preset, else the first",
    )


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    runs = run_parser()
    runs.set_defaults(given=arguments)
    commands = {"run": (runs, run), "report": (report_parser(), report), "work": (work_parser(), work_here)}
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
