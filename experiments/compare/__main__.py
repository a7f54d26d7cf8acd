"""Compare cells on tasks over seeds: `python -m experiments.compare [run|report] …`."""

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
from experiments.compare.report import FILES, write_report
from experiments.compare.study import open_study
from experiments.compare.worker import work
from keras_gates._files import written_whole

PLAN = "plan.json"
HEARTBEAT = 10


def run(parser, options):
    """Run all trials that have no result yet, then report."""
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    storage = options.storage or default_storage(out)
    study = open_study(storage, options.heartbeat)
    cells = options.cells or list(keras_gates.cell_classes())
    wanted = trials(options.tasks, cells, options.seeds, options.budget)
    command = f"{parser.prog} {shlex.join(options.given)}"
    with written_whole(out / PLAN, PLAN, replace=True) as path:
        path.write_text(json.dumps({"command": command, "storage": storage}) + "\n", encoding="utf-8")
    failed = drive(study, wanted, out, options.jobs, storage, options.heartbeat)
    if len(failed) < len(wanted):
        print(write_report(study, out, options.reference, command))
        print(f"Written to {out}: {', '.join(name for name in FILES if (out / name).exists())}")
    if failed:
        trial, sentence = next(iter(failed.items()))
        raise InputError(
            f"{len(failed)} of {len(wanted)} trials failed, the first ({trial.name()}): {sentence}"
        )


def report(parser, options):
    """Write the report of a comparison, finished or not."""
    out = Path(options.run)
    try:
        plan = json.loads((out / PLAN).read_text(encoding="utf-8"))
        storage, command = plan["storage"], plan["command"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out} is not the folder of a comparison: it has no readable {PLAN}.") from error
    print(write_report(open_study(storage, HEARTBEAT), out, options.reference, command))


def work_here(parser, options):
    work(Path(options.run), options.slot, options.storage, options.heartbeat)


def default_storage(out):
    return f"sqlite:///{(out / 'study.db').absolute()}"


def run_parser():
    parser = Parser(
        prog="python -m experiments.compare",
        description="Train cells on tasks over seeds, each run in a process of its own, and report means "
        "with intervals. After any interruption the same command continues; one with more cells, tasks or "
        "seeds adds them.",
        epilog="Report again, also while trials run, with: python -m experiments.compare report RUN",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        type=task_line,
        required=True,
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
    parser.add_argument("--seeds", type=whole(1), default=5, help="runs of each cell on each task")
    parser.add_argument(
        "--budget",
        type=budget,
        help="parameters=N: as many units as give the network at most so many parameters; or units=N; by "
        "default what the task has",
    )
    parser.add_argument("--jobs", type=whole(1), default=os.cpu_count() or 1, help="runs side by side")
    parser.add_argument("--out", metavar="RUN", default="runs/compare", help="the folder of the comparison")
    add_storage(parser)
    add_reference(parser)
    return parser


def report_parser():
    parser = Parser(
        prog="python -m experiments.compare report", description="Write the report of a comparison."
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a comparison")
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
        help="the cell that the others are tested against; by default the first",
    )


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    runs = run_parser()
    runs.set_defaults(given=arguments)
    commands = {"run": (runs, run), "report": (report_parser(), report), "work": (work_parser(), work_here)}
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
