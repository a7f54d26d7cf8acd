"""What every task shares: the run folder, the fit, how a run is stopped and continued.

An interrupted and resumed run ends with the same bits as an uninterrupted one of the same seed, on a CPU of
the same kind with as many threads and the same versions; only the times in history.csv and metrics.json
differ. On another CPU sums are taken in another order; on a GPU it holds as far as TensorFlow's operations
are deterministic there.
"""

import argparse
import csv
import dataclasses
import json
import math
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common import report
from experiments.common.batches import Batches
from experiments.common.errors import InputError, sentence_of


@dataclasses.dataclass(frozen=True)
class Problem:
    """A task made ready for training.

    train, validation: batches of (inputs, targets) or (inputs, targets, weights).
    model: the network from numbers to logits, not compiled; the last axis of its output runs over `labels`.
    serving: trained network -> the model that is saved, from raw text to probabilities.
    test: trained network -> (measures by name, confusion matrix (labels, labels), rows true).
    facts: what the run folder's config.json should tell about the data.
    texts: some test texts, which --trace shows.
    """

    train: Batches
    validation: Batches
    model: keras.Model
    serving: Callable
    test: Callable
    labels: tuple
    facts: dict
    texts: tuple = ()


class RunFolder:
    """The folder of a run: it grows as `RUN.partial` and becomes `RUN` by one rename, whole or not at all."""

    def __init__(self, path):
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.name}.partial")
        self.checkpoint = self.partial / "checkpoint.npz"

    @classmethod
    def create(cls, path):
        """A new folder. Raises `InputError` where a run, finished or not, lies already."""
        folder = cls(path)
        if folder.path.exists():
            raise InputError(f"{folder.path} exists; give --out another name.")
        if folder.partial.exists():
            raise InputError(
                f"{folder.partial} holds an unfinished run; "
                f"continue it with --resume {folder.path}, or remove it."
            )
        folder.partial.mkdir(parents=True)
        return folder

    @classmethod
    def reopen(cls, path):
        """The folder of an interrupted run, by the name of the run or of its partial folder."""
        folder = cls(str(path).rstrip("/").removesuffix(".partial"))
        if folder.path.exists():
            raise InputError(f"{folder.path} is finished; there is nothing to resume.")
        if not folder.checkpoint.is_file():
            raise InputError(
                f"There is no interrupted run {folder.path}: {folder.checkpoint} does not exist."
            )
        return folder

    def write(self, name, save):
        """Let `save(path)` write a file beside its place, then move it there: old or new, never half."""
        beside = self.partial / f"new-{name}"
        save(beside)
        os.replace(beside, self.partial / name)

    def write_json(self, name, content):
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def clear_results(self):
        """Remove what an interruption while results were written has left."""
        for path in self.partial.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("config.json", "checkpoint.npz"):
                path.unlink()

    def abandon_if_useless(self):
        """Remove the folder unless there is something to continue from; says whether it was kept."""
        if self.checkpoint.exists():
            return True
        shutil.rmtree(self.partial, ignore_errors=True)
        return False

    def finish(self):
        os.rename(self.partial, self.path)
        (self.path / self.checkpoint.name).unlink()  # only now: had the rename failed, it would be needed


def free_path(stem):
    """The first of `stem`, `stem`-2, `stem`-3, … where no run lies."""
    number, path = 1, Path(stem)
    while path.exists() or RunFolder(path).partial.exists():
        number += 1
        path = Path(f"{stem}-{number}")
    return path


def train(task, prepare, parser, options):
    """Train a task from its command line's options and write its run folder.

    prepare: options -> `Problem`.
    """
    if options.resume:
        folder, config = _reopen(task, parser, options)
        options = argparse.Namespace(**config["options"])
    else:
        folder = RunFolder.create(options.out or free_path(f"runs/{task}-{options.cell}"))
        config = None
    try:
        _train(task, prepare, options, folder, config)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_kept(task, folder)) from None
    except OSError as error:
        raise InputError(f"{sentence_of(error)} {_kept(task, folder)}") from error
    finally:
        if not folder.path.exists():
            folder.abandon_if_useless()


def _reopen(task, parser, options):
    ignored = [
        name
        for name, value in vars(options).items()
        if name != "resume" and value != parser.get_default(name)
    ]
    if ignored:
        raise InputError(
            f"--resume takes every option from the run; leave out --{ignored[0].replace('_', '-')}."
        )
    folder = RunFolder.reopen(options.resume)
    config = json.loads((folder.partial / "config.json").read_text(encoding="utf-8"))
    if config["task"] != task:
        raise InputError(
            f"{folder.path} is a run of experiments.{config['task']}, not of experiments.{task}."
        )
    return folder, config


def _train(task, prepare, options, folder, config):
    keras.utils.set_random_seed(options.seed)
    problem = prepare(options)
    if config is None:
        config = dict(
            task=task, options=vars(options), labels=problem.labels, versions=versions(), **problem.facts
        )
        folder.write_json("config.json", config)
    elif config["data"] != problem.facts["data"]:
        raise InputError(f"{options.dataset} has changed since {folder.path} began; it cannot be resumed.")
    elif config["versions"] != versions():
        print("Begun with other versions: the result may differ in the last bits.", file=sys.stderr)

    compile_model(problem.model, options, steps=len(problem.train) * options.epochs)
    history = fit(problem, options, folder)
    measures, confusion = problem.test(problem.model)
    metrics = dict(
        **measures,
        parameters=problem.model.count_params(),
        seconds_per_epoch=round(statistics.median(row["seconds"] for row in history), 2),
        epochs=len(history),
        best_epoch=best_epoch(history),
        cell=options.cell,
        dataset=options.dataset,
        examples=problem.facts["examples"],
        seed=options.seed,
        versions=versions(),
    )
    _write_results(folder, problem, history, metrics, confusion)
    print(report.summary(metrics))
    if vars(options).get("trace"):  # a run that was begun before there was such an option has none
        _trace(folder.path, problem.texts)
    print(f"Run folder: {folder.path}")


def _trace(run, texts):
    from experiments.inspect import __main__ as inspect  # which builds on every task, and so on this module

    inspect.look(run, texts, run / "inspection")


def compile_model(model, options, steps):
    """Adam with clipped gradients on the cross-entropy of logits and whole-number targets.

    steps: over how many batches the learning rate falls to zero, with `options.decay`.
    """
    rate = options.learning_rate
    if options.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate, clipnorm=options.clip),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # every new length of a batch would be compiled anew, which takes longer than it saves
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)


def fit(problem, options, folder):
    """Train to the end, from the folder's checkpoint where it has one; returns the history.

    The model is left with the weights of the best epoch.
    """
    tf.config.experimental.enable_op_determinism()
    keeper = Keeper(problem.model, folder, options)
    done = len(keeper.history)
    if not keeper.is_done():
        problem.model.fit(
            problem.train.endless(first_epoch=done),
            steps_per_epoch=len(problem.train),
            validation_data=problem.validation.once(),
            initial_epoch=done,
            epochs=options.epochs,
            callbacks=[keeper],
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )
    keeper.restore_best()
    return keeper.history


class Keeper(keras.callbacks.Callback):
    """Keeps the history, the best weights and, after every epoch, all that is needed to continue.

    A checkpoint holds the model's variables, among them the states of its random generators, the
    optimizer's, the best weights and the history. Which epoch comes next and whether patience is
    exhausted follow from the history.
    """

    def __init__(self, model, folder, options):
        super().__init__()
        self.network, self.folder, self.options = model, folder, options
        self.history, self.best = [], []
        if folder.checkpoint.exists():
            self._restore()

    def is_done(self):
        since_best = len(self.history) - best_epoch(self.history) if self.history else 0
        return len(self.history) >= self.options.epochs or since_best >= self.options.patience

    def restore_best(self):
        for variable, value in zip(self.network.variables, self.best, strict=True):
            variable.assign(value)

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.seconds = time.perf_counter() - self.began

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["val_loss"]):
            self.folder.checkpoint.unlink(missing_ok=True)  # to continue would lead here again
            raise InputError(
                f"The loss was no longer finite in epoch {epoch + 1}, nothing is kept; lower --learning-rate."
            )
        measures = {name: float(value) for name, value in logs.items()}
        self.history.append(dict(epoch=epoch + 1, **measures, seconds=round(self.seconds, 3)))
        if best_epoch(self.history) == epoch + 1:
            self.best = [variable.numpy() for variable in self.network.variables]
        self._save()
        self.model.stop_training = self.is_done()

    def _states(self):
        return [*self.network.variables, *self.network.optimizer.variables]

    def _save(self):
        def save(path):
            with path.open("wb") as file:
                np.savez(
                    file,
                    history=json.dumps(self.history),
                    **{f"state_{at}": variable.numpy() for at, variable in enumerate(self._states())},
                    **{f"best_{at}": value for at, value in enumerate(self.best)},
                )

        self.folder.write("checkpoint.npz", save)

    def _restore(self):
        with np.load(self.folder.checkpoint) as kept:
            self.history = json.loads(str(kept["history"]))
            for at, variable in enumerate(self._states()):
                variable.assign(kept[f"state_{at}"])
            self.best = [kept[f"best_{at}"] for at in range(len(self.network.variables))]


def best_epoch(history):
    """The number of the epoch with the least validation loss, the first of equals."""
    return min(history, key=lambda row: row["val_loss"])["epoch"]


def load_run(task, path):
    """(config, saved model as a callable) of a finished run of that task."""
    run = Path(path)
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{run} is not a finished run: it has no config.json.") from error
    if config["task"] != task:
        raise InputError(f"{run} is a run of experiments.{config['task']}, not of experiments.{task}.")
    return config, keras_gates.load(run / "saved_model")


def versions():
    modules = (keras, keras_gates, np, tf)
    return {
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in modules},
    }


def _write_results(folder, problem, history, metrics, confusion):
    folder.write_json("metrics.json", metrics)
    folder.write("history.csv", lambda path: _write_history(path, history))
    folder.write("learning_curve.png", lambda path: report.learning_curve(history, path))
    folder.write("confusion.png", lambda path: report.confusion(confusion, problem.labels, path))
    model = problem.serving(problem.model)
    folder.write("model.keras", model.save)
    folder.write("saved_model", lambda path: keras_gates.export(model, path))
    folder.finish()


def _write_history(path, history):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=history[0])
        writer.writeheader()
        writer.writerows(history)


def _kept(task, folder):
    if folder.path.exists():
        return f"The run is whole: {folder.path}."
    if not folder.abandon_if_useless():
        return "No epoch was finished, so nothing is kept."
    with np.load(folder.checkpoint) as kept:
        epochs = len(json.loads(str(kept["history"])))
    return (
        f"Kept {epochs} finished epoch{'s' * (epochs > 1)} in {folder.partial}; "
        f"continue with: python -m experiments.{task} --resume {folder.path}"
    )
