"""A training run, from the options of its command line to its finished folder, for any task."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras

from experiments.common import results
from experiments.common.batches import Batches
from experiments.common.budget import units_within
from experiments.common.card import model_card
from experiments.common.cells import is_in_file, plain_name
from experiments.common.devices import check_can_spread, spread_over
from experiments.common.errors import InputError, reason_of, sentence_of
from experiments.common.fitting import (
    Checkpoint,
    adam,
    best_epoch,
    compile_model,
    finished_epochs,
    fit,
    is_done,
)
from experiments.common.options import command_of, parse_again
from experiments.common.run_folder import (
    CHECKPOINT,
    CONFIG,
    RunFolder,
    check_cell_is_known,
    free_path,
    read_config,
)


class MainMeasure(NamedTuple):
    """The main measure of a task.

    name: that of a measure in metrics.json.
    better: "higher" or "lower".
    """

    name: str
    better: str


ACCURACY = MainMeasure("test_accuracy", "higher")


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
    optimizer, loss, metrics: what `compile_model` takes.
    score: a function from the network to the measure of the validation part that chooses the best epoch, the
        higher the better; None to choose that of the lowest validation loss.
    main_measure: that by which runs are compared; None if they cannot be.
    callbacks: those of the task, for `fit`.
    files: a function from the trained network to the files that the run folder has beside those of every
        task: functions `save(path)` by name.
    use: for the model card: the words after the task's name that use a trained model, RUN being its folder;
        "" if there is no such command.
    notes: sentences for the model card, about the split and the limits of the model.
    metadata: what else the metadata of the saved model says, beside the labels.
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
    metrics: tuple | None = None
    score: Callable | None = None
    main_measure: MainMeasure | None = None
    callbacks: tuple = ()
    files: Callable = lambda model: {}
    use: str = ""
    notes: tuple = ()
    metadata: dict = dataclasses.field(default_factory=dict)
    write: dict | None = None


def train(task, prepare, look, parser, options):
    """Train a task and write its run folder.

    task: its name, that of its folder in `experiments`.
    prepare: a function from options to a `Problem`.
    look: what --trace calls after the run is complete: `look(run, texts, folder)`.
    parser, options: the task's command line, and what was given there.
    """
    if options.trace and not options.model:
        raise InputError("--trace looks into the model, which --no-model does not keep.")
    is_new, folder, options = _open(task, parser, options)
    begun = finished_epochs(folder.checkpoint)
    try:
        _train(task, prepare, look, parser, options, folder)
    except KeyboardInterrupt as stop:
        raise type(stop)(_what_is_kept(task, folder)) from None
    except OSError as error:
        raise InputError(f"{sentence_of(error)} {_what_is_kept(task, folder)}") from error
    finally:
        if is_new and finished_epochs(folder.checkpoint) == begun:
            folder.remove()


def _open(task, parser, options):
    """Whether a run is new, its folder, and its options."""
    if not options.resume:
        out = options.out or free_path(f"runs/{task}-{plain_name(options.cell)}")
        return True, RunFolder.create(out), options
    given = {name: getattr(options, name) for name in parser.given - {"resume"}}
    if wrong := sorted(given.keys() - {"epochs", "patience", "out"} - _cell_again(given)):
        raise InputError(
            f"--resume takes every option but --epochs and --patience from the run; "
            f"leave out --{wrong[0].replace('_', '-')}."
        )
    changed = {name: value for name, value in given.items() if name not in ("out", "cell")}
    if Path(options.resume).is_dir() and "epochs" in changed and not options.resume.endswith(".partial"):
        return _continue(task, parser, options, changed)
    if "out" in given:
        raise InputError("--resume of an interrupted run goes on in its folder; leave out --out.")
    folder = RunFolder.reopen(options.resume)
    config = read_config(folder.partial, task)
    options = _options_again(parser, config, changed, folder.partial)
    if changed:
        folder.write_json(CONFIG, {**config, "options": vars(options)})
    return False, folder, options


def _continue(task, parser, options, changed):
    """What `_open` returns for a new run that continues a finished one."""
    finished = Path(options.resume)
    config = read_config(finished, task)
    again = _options_again(parser, config, changed, finished)
    if not (finished / CHECKPOINT).is_file():
        raise InputError(f"{finished} cannot be continued: it has no {CHECKPOINT}.")
    history = Checkpoint.read(finished / CHECKPOINT).history
    if is_done(history, again):
        raise InputError(
            f"{finished} has no epoch left: it has trained {len(history)}, the best was number "
            f"{best_epoch(history)}; give more --epochs, or more --patience."
        )
    folder = RunFolder.create(options.out or free_path(finished))
    shutil.copyfile(finished / CHECKPOINT, folder.checkpoint)
    folder.write_json(CONFIG, {**config, "options": vars(again), "continues": str(finished)})
    return True, folder, again


def _cell_again(given):
    """{"cell"} if a class in a file is given beside --resume, else nothing."""
    return {"cell"} if is_in_file(given.get("cell", "")) else set()


def _options_again(parser, config, changed, folder):
    """The options of a run, some of them changed."""
    check_cell_is_known(config)
    again = parse_again(parser, config["options"], folder / CONFIG)
    vars(again).update(changed)
    return again


def _train(task, prepare, look, parser, options, folder):
    devices = spread_over(options.devices)
    if options.parameters is not None:
        options.units = units_within(options, lambda tried: prepare(tried).model.count_params())
    keras.utils.set_random_seed(options.seed)
    with devices:
        problem = prepare(options)
        check_can_spread(problem.model, options.devices)
        compile_model(
            problem.model,
            options,
            steps=len(problem.train) * options.epochs,
            optimizer=problem.optimizer,
            loss=problem.loss,
            metrics=problem.metrics,
        )
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

    history = fit(problem, options, folder)
    measures, confusion = problem.test(problem.model)
    metrics = results.metrics_of(problem, measures, history, options)
    card = None
    if options.model:
        card = model_card(
            folder.path,
            read_config(folder.partial),
            metrics,
            problem.notes,
            command_of(parser, options),
            problem.use,
        )
    results.write_results(folder, problem, history, metrics, confusion, card)
    print(results.summary(metrics))
    if options.trace:
        _trace(look, folder.path, problem.texts)
    print(f"Run folder: {folder.path}")


def _trace(look, run, texts):
    """Look into a complete run. It stays complete, and its command right, whatever happens here."""
    try:
        look(run, texts, run / "inspection")
    except Exception as error:
        print(f"The run is complete, but it could not be traced: {reason_of(error)}.", file=sys.stderr)


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
