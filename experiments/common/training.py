"""A training run, from the options of its command line to its finished folder, for any task."""

import dataclasses
import json
import sys
from collections.abc import Callable

import keras

from experiments.common import results
from experiments.common.batches import Batches
from experiments.common.errors import InputError, sentence_of
from experiments.common.fitting import adam, compile_model, finished_epochs, fit
from experiments.common.options import parse_again
from experiments.common.run_folder import CONFIG, RunFolder, free_path, read_config


@dataclasses.dataclass(frozen=True)
class Problem:
    """A task made ready for training.

    train, validation: batches of (inputs, targets) or (inputs, targets, weights).
    model: the network from numbers to logits, not compiled; the last axis of its output runs over `labels`.
    serving: a function from the trained network to the model that is saved, from raw text to probabilities.
    test: a function from the trained network to its measures by name and its confusion matrix (labels,
        labels), a row for each true label; None instead where a matrix would say nothing.
    facts: entries of config.json about the data: at least `data`, which changes if the data do, and
        `examples`.
    texts: some test texts, which --trace shows.
    optimizer, loss, accuracy: what `compile_model` takes.
    score: a function from the network to the measure of the validation part that chooses the best epoch, the
        higher the better; None to choose that of the lowest validation loss.
    callbacks: those of the task, for `fit`.
    files: a function from the trained network to the files that the run folder has beside those of every
        task: functions `save(path)` by name.
    write: how the saved model writes, as `keras_gates.export` takes it; None if it does not write.
    """

    train: Batches
    validation: Batches
    model: keras.Model
    serving: Callable
    test: Callable
    labels: tuple
    facts: dict
    texts: tuple = ()
    optimizer: Callable = adam
    loss: keras.Loss | None = None
    accuracy: keras.Metric | None = None
    score: Callable | None = None
    callbacks: tuple = ()
    files: Callable = lambda model: {}
    write: dict | None = None


def train(task, prepare, look, parser, options):
    """Train a task and write its run folder.

    task: its name, that of its folder in `experiments`.
    prepare: a function from options to a `Problem`.
    look: what --trace calls after the run is complete: `look(run, texts, folder)`.
    parser, options: the task's command line, and what was given there.
    """
    resumes = bool(options.resume)
    if resumes:
        folder, options = _reopen(task, parser, options)
    else:
        folder = RunFolder.create(options.out or free_path(f"runs/{task}-{options.cell}"))
    try:
        _train(task, prepare, look, options, folder)
    except KeyboardInterrupt as stop:
        raise type(stop)(_what_is_kept(task, folder)) from None
    except OSError as error:
        raise InputError(f"{sentence_of(error)} {_what_is_kept(task, folder)}") from error
    finally:
        if not resumes and not folder.checkpoint.exists():
            folder.remove()


def _reopen(task, parser, options):
    """The folder of an interrupted run, and the options that it was started with."""
    given = [
        name
        for name, value in vars(options).items()
        if name != "resume" and value != parser.get_default(name)
    ]
    if given:
        raise InputError(
            f"--resume takes every option from the run; leave out --{given[0].replace('_', '-')}."
        )
    folder = RunFolder.reopen(options.resume)
    config = read_config(folder.partial, task)
    return folder, parse_again(parser, config["options"], folder.partial / CONFIG)


def _train(task, prepare, look, options, folder):
    keras.utils.set_random_seed(options.seed)
    problem = prepare(options)
    config = dict(
        task=task,
        options=vars(options),
        labels=problem.labels,
        versions=results.versions(),
        **problem.facts,
    )
    if (folder.partial / CONFIG).exists():
        _check_same(json.loads(json.dumps(config)), folder)
        folder.clear_results()
    else:
        folder.write_json(CONFIG, config)

    compile_model(
        problem.model,
        options,
        steps=len(problem.train) * options.epochs,
        optimizer=problem.optimizer,
        loss=problem.loss,
        accuracy=problem.accuracy,
    )
    history = fit(problem, options, folder)
    measures, confusion = problem.test(problem.model)
    metrics = results.metrics_of(problem, measures, history, options)
    results.write_results(folder, problem, history, metrics, confusion)
    print(results.summary(metrics))
    if options.trace:
        look(folder.path, problem.texts, folder.path / "inspection")
    print(f"Run folder: {folder.path}")


def _check_same(config, folder):
    """Raise `InputError` unless a run that is resumed has the config that it was started with."""
    begun = read_config(folder.partial)
    differing = [name for name in config if begun.get(name) != config[name]]
    if "data" in differing:
        raise InputError(
            f"{config['options']['dataset']} has changed since {folder.path} began; it cannot be resumed."
        )
    if differing == ["versions"]:
        print("Started with other versions: the result may differ in the last bits.", file=sys.stderr)
    elif differing:
        raise InputError(
            f"{folder.partial / CONFIG} is damaged: its {' and '.join(differing)} are not those of this run."
        )


def _what_is_kept(task, folder):
    if folder.path.exists():
        return f"The run is complete: {folder.path}."
    epochs = finished_epochs(folder.checkpoint)
    if not epochs:
        folder.remove()
        return "No epoch was finished, so nothing is kept."
    return (
        f"Kept {epochs} finished epoch{'s' * (epochs > 1)} in {folder.partial}; "
        f"continue with: python -m experiments.{task} --resume {folder.path}"
    )
