"""What is to be run: trials, each a run of a task by a cell with a seed."""

import argparse
import hashlib
import importlib.util
import re
import shlex
from typing import NamedTuple

from experiments.common.cells import plain_name

BUDGETS = ("parameters", "units")


class Trial(NamedTuple):
    """A run of a task.

    task: its command line after `python -m experiments.`, such as "synthetic --task adding".
    cell: as --cell takes it.
    budget: "parameters=N", "units=N", or "" for the task's own size.
    sampler: that of the search to which it belongs, "" if it belongs to none.
    number: of the point in its search.
    """

    task: str
    cell: str
    seed: int
    budget: str
    sampler: str = ""
    number: int = 0

    def name(self):
        """A name for its folder, different for every trial."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        words = re.sub(r"[^\w.]+", "-", self.task).strip("-")[:60]
        of_search = f"-{self.sampler}-{self.number}" if self.sampler else ""
        return f"{words}-{plain_name(self.cell)}-{self.seed}{of_search}-{digest}"

    def arguments(self, out, settings):
        """The words after `python -m` that train it into the run folder `out`.

        The model is kept if the task's words have --model.

        settings: the options that its search tries, by name.
        """
        module, *options = shlex.split(self.task)
        size = [f"--{self.budget}"] if self.budget else []
        return [
            *(f"experiments.{module}", "--no-model", *options, "--cell", self.cell, *size),
            *(f"--{name}={value}" for name, value in settings.items()),
            *("--seed", str(self.seed), "--out", str(out)),
        ]

    def module(self):
        return f"experiments.{shlex.split(self.task)[0]}"

    @classmethod
    def of(cls, attributes):
        """The trial in the attributes of one of Optuna's; None if there is none."""
        if not set(cls._fields) <= set(attributes):
            return None
        return cls(*(attributes[name] for name in cls._fields))


def trials(tasks, cells, seeds, budget, sampler="", points=1):
    """All trials, seed by seed, so that every cell has some result early; each search point by point.

    points: of each search, if there is a sampler.
    """
    return [
        Trial(task, cell, seed, budget or "", sampler, number)
        for seed in range(seeds)
        for number in range(points)
        for task in tasks
        for cell in cells
    ]


def task_line(text):
    """The type of a task's command line."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a command line: {error}") from error
    if not words or not words[0].isidentifier() or not _is_task(words[0]):
        raise argparse.ArgumentTypeError(
            f"{text!r} does not begin with the name of a task, as in 'synthetic --task adding'"
        )
    return text


def _is_task(name):
    try:
        return importlib.util.find_spec(f"experiments.{name}.__main__") is not None
    except ModuleNotFoundError:
        return False


def budget(text):
    """The type of a budget."""
    name, _, number = text.partition("=")
    if name not in BUDGETS or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither parameters=NUMBER nor units=NUMBER")
    return f"{name}={int(number)}"
