"""The folder of a run: how it is filled, how it is completed, and how it is read again."""

import csv
import json
import os
import shutil
from pathlib import Path

import keras

import keras_gates
from experiments.common.cells import is_in_file
from experiments.common.errors import InputError, reason_of, sentence_of
from keras_gates._files import written_whole

CONFIG, CHECKPOINT = "config.json", "checkpoint.npz"


class RunFolder:
    """The folder of a run: it is filled as `RUN.partial`, and renamed to `RUN` when it is complete."""

    def __init__(self, path):
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.name}.partial")
        self.checkpoint = self.partial / CHECKPOINT

    @classmethod
    def create(cls, path):
        """A new folder. Raises `InputError` if there is a run, finished or not."""
        folder = cls(path)
        if folder.path.exists():
            raise InputError(f"{folder.path} exists; give --out another name.")
        if folder.partial.exists():
            raise InputError(folder._what_is_unfinished())
        folder.partial.mkdir(parents=True)
        return folder

    @classmethod
    def reopen(cls, path):
        """The folder of an interrupted run, by the name of the run or of its partial folder."""
        folder = cls(str(path).rstrip("/").removesuffix(".partial"))
        if folder.path.exists():
            raise InputError(
                f"{folder.path} is finished; there is nothing to resume, unless it is given more --epochs."
            )
        if not folder.partial.exists():
            raise InputError(f"There is no interrupted run {folder.path}: {folder.partial} does not exist.")
        if not folder._can_be_resumed():
            raise InputError(folder._what_is_unfinished())
        return folder

    def _can_be_resumed(self):
        """Whether the options are there; without a checkpoint the run begins with its first epoch again."""
        return (self.partial / CONFIG).is_file()

    def _what_is_unfinished(self):
        if self._can_be_resumed():
            return (
                f"{self.partial} holds an unfinished run; "
                f"continue it with --resume {self.path}, or remove it."
            )
        return f"{self.partial} has no {CONFIG}, so there is nothing to resume in it; remove it."

    def write(self, name, save):
        """Let `save(path)` write a file, which atomically replaces a former one of this name."""
        with written_whole(self.partial / name, name, replace=True) as path:
            save(path)

    def write_json(self, name, content):
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def clear_results(self):
        """Remove all but what a run continues from: results whose writing was interrupted."""
        for path in self.partial.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name not in (CONFIG, CHECKPOINT):
                path.unlink()

    def remove(self):
        shutil.rmtree(self.partial, ignore_errors=True)

    def finish(self):
        os.rename(self.partial, self.path)


def free_path(stem):
    """The first of `stem`, `stem`-2, `stem`-3, … where there is no run, finished or not."""
    number, path = 1, Path(stem)
    while path.exists() or RunFolder(path).partial.exists():
        number += 1
        path = Path(f"{stem}-{number}")
    return path


# -- reading a run


def _is_list_of_names(value):
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


_ENTRIES = {
    "task": ("the name of a task", lambda value: isinstance(value, str)),
    "options": (
        "an object with the options of the run",
        lambda value: isinstance(value, dict) and isinstance(value.get("cell"), str),
    ),
    "labels": ("a list of names", _is_list_of_names),
}


def read_config(folder, task=None):
    """The config.json of a run, as a dict with at least `task`, `options` and `labels`.

    folder: of a finished or an unfinished run.
    task: the task that the run should be of; any, if not given.

    Raises `InputError` if the file is missing or damaged, or the run is one of another task.
    """
    path = Path(folder) / CONFIG
    config = _read_object(path)
    for name, (expected, is_right) in _ENTRIES.items():
        if not is_right(config.get(name)):
            raise InputError(
                f"{path} is not that of a run: "
                f"expected {name!r} to be {expected}, got {_short(config.get(name))}."
            )
    if task not in (None, config["task"]):
        raise InputError(f"{folder} is a run of experiments.{config['task']}, not of experiments.{task}.")
    return config


def read_metrics(folder):
    """The metrics.json of a finished run, as a dict."""
    return _read_object(Path(folder) / "metrics.json")


def read_history(folder):
    """The rows of the history.csv of a finished run, one for each epoch, as dicts of numbers."""
    path = Path(folder) / "history.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise InputError(f"{folder} is not a finished run: it has no {path.name}.") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {reason_of(error)}.") from error


def _read_object(path):
    """The JSON object in a file of a run. Raises `InputError` if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path.parent} is not a finished run: it has no {path.name}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is not JSON ({reason_of(error)}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not that of a run: expected a JSON object, got {_short(content)}.")
    return content


def _short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


def is_run(path):
    """Whether there is a run folder of this name."""
    return os.path.isfile(os.path.join(path, CONFIG))  # False, too, for a text that is no path


def load_run(task, path, name="saved_model"):
    """(config, saved model as a callable) of a finished run of that task.

    name: of the folder with the model, where a run has several.
    """
    config = read_config(path, task)
    try:
        return config, keras_gates.load(Path(path) / name)
    except OSError as error:
        raise InputError(sentence_of(error)) from error
    except ValueError as error:
        raise InputError(f"{path} holds no model that can be loaded: {reason_of(error)}.") from error


def check_cell_is_known(config):
    """Raise `InputError` if a run's cell is in a file that this command line does not name.

    Whoever wrote config.json must not decide what is run here.
    """
    cell = config["options"]["cell"]
    if is_in_file(cell) and cell not in keras_gates.cell_classes():
        raise InputError(f"The run's cell is a class in a file, which would be run: give --cell {cell} too.")


def load_network(path):
    """The model.keras of a finished run."""
    check_cell_is_known(read_config(path))
    path = Path(path) / "model.keras"
    if not path.is_file():
        raise InputError(f"{path.parent} is not a finished run: it has no {path.name}.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever an archive, a config or weights may raise when they are damaged
        raise InputError(f"{path} cannot be loaded: {reason_of(error)}.") from error


def check_labels(config, number):
    """Raise `InputError` unless the config names as many labels as the model has."""
    if len(config["labels"]) != number:
        raise InputError(
            f"The {CONFIG} of the run names {len(config['labels'])} labels; its model has {number}."
        )
