"""The fit, and how it is continued after an interruption.

An interrupted and resumed run gives bit-identical results to an uninterrupted one of the same seed, on a CPU
of the same kind with as many threads and the same versions; only the times in history.csv and metrics.json
differ. Another CPU may add in another order; on a GPU it depends on whether TensorFlow's operations are
deterministic there.
"""

import json
import math
import sys
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from experiments.common.devices import build_for_fit, loss_of_whole_batch, optimizer_of_whole_batch
from experiments.common.errors import DIVERGED, InputError, reason_of
from experiments.common.stopping import raise_if_stopped, stop_instead_of_errors

SCORE = "val_score"  # of an epoch, in the history


def adam(rate, options):
    """Adam, with the gradient of each weight clipped to the norm `options.clip`."""
    return keras.optimizers.Adam(rate, clipnorm=options.clip)


def compile_model(model, options, steps, optimizer=adam, loss=None, metrics=None):
    """Compile, by default for the cross-entropy of logits and whole-number targets.

    steps: the number of batches over which the learning rate falls to zero, with `options.decay`.
    optimizer: a function from the learning rate or its schedule, and the options, to the optimizer.
    loss: another loss.
    metrics: other measures to follow than the accuracy; () for none but the loss.
    """
    if metrics is None:
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    rate = options.learning_rate
    if options.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    made = optimizer(rate, options)
    if options.average:
        made.use_ema, made.ema_momentum = True, options.average
    model.compile(
        optimizer=optimizer_of_whole_batch(made),
        loss=loss_of_whole_batch(loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        weighted_metrics=list(metrics),
        # XLA would compile every new length of a batch, which takes longer than it saves
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)


def fit(problem, options, folder):
    """Train to the end, from the folder's checkpoint if it has one; returns the history.

    The model is left with the weights of the best epoch.
    """
    tf.config.experimental.enable_op_determinism()
    keeper = Keeper(problem.model, folder, options, problem.score)
    done = len(keeper.history)
    if not keeper.is_done():
        build_for_fit(problem.model, problem.validation)
        with stop_instead_of_errors():
            problem.model.fit(
                problem.train.endless(first_epoch=done),
                steps_per_epoch=len(problem.train),
                validation_data=problem.validation.once(),
                initial_epoch=done,
                epochs=options.epochs,
                callbacks=[keeper, *problem.callbacks],
                shuffle=False,
                verbose=1 if sys.stdout.isatty() else 2,
            )
    keeper.restore_best()
    return keeper.history


class Checkpoint(NamedTuple):
    """All that is needed to continue after an epoch.

    history: a dict of measures for every finished epoch.
    states: arrays of all variables of the model, those of its random generators among them, and of its
        optimizer.
    best: arrays of the model's variables after the best epoch.

    Which epoch comes next, and whether patience is exhausted, follow from the history.
    """

    history: list
    states: list
    best: list

    def write(self, path):
        with path.open("wb") as file:
            np.savez(
                file,
                history=json.dumps(self.history),
                **{f"state_{at}": value for at, value in enumerate(self.states)},
                **{f"best_{at}": value for at, value in enumerate(self.best)},
            )

    @classmethod
    def read(cls, path):
        """Raises `InputError` if the file is damaged."""
        try:
            with path.open("rb") as file, np.load(file) as kept:
                history = json.loads(str(kept["history"]))
                states, best = (
                    [kept[f"{kind}_{at}"] for at in range(_count(kept, kind))] for kind in ("state", "best")
                )
            best_epoch(history)
        except Exception as error:  # whatever an archive or its content may raise when it is damaged
            raise InputError(f"{path} is damaged, the run cannot be resumed: {reason_of(error)}.") from error
        return cls(history, states, best)


def _count(kept, kind):
    return sum(name.startswith(f"{kind}_") for name in kept.files)


def finished_epochs(path):
    """The number of epochs in a checkpoint; 0 if there is none."""
    return len(Checkpoint.read(path).history) if path.exists() else 0


class Keeper(keras.callbacks.Callback):
    """Keeps the history, the best weights and, after every epoch, a `Checkpoint`.

    With `options.average`, validation, the score and the best weights are those of the moving average, while
    the training goes on from the weights themselves.

    score: None, or a function from the network to the number that tells how good an epoch is.
    """

    def __init__(self, model, folder, options, score=None):
        super().__init__()
        self.network, self.folder, self.options, self.score = model, folder, options, score
        self.history, self.best = [], []
        if folder.checkpoint.exists():
            self._restore()

    def is_done(self):
        return is_done(self.history, self.options)

    def restore_best(self):
        _assign(self.network.variables, self.best)

    def on_train_begin(self, logs=None):
        raise_if_stopped()

    def on_train_batch_end(self, batch, logs=None):
        raise_if_stopped()

    def on_test_batch_end(self, batch, logs=None):
        raise_if_stopped()

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.seconds = time.perf_counter() - self.began
        if self.options.average:
            # Keras' callback swaps by adding and subtracting, which rounds: so they are kept here
            self.trained = _values(self._variables())
            swap = keras.callbacks.SwapEMAWeights()
            swap.set_model(self.model)
            swap.on_test_begin()

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs["val_loss"]):
            self.folder.remove()  # resuming would fail again in the same way
            raise InputError(f"{DIVERGED} in epoch {epoch + 1}, nothing is kept; lower --learning-rate.")
        measures = {name: float(value) for name, value in logs.items()}
        if self.score is not None:
            measures[SCORE] = self.score(self.network)
        self.history.append(dict(epoch=epoch + 1, **measures, seconds=round(self.seconds, 3)))
        if best_epoch(self.history) == epoch + 1:
            self.best = _values(self.network.variables)
        if self.options.average:
            _assign(self._variables(), self.trained)
        states = _values(self._variables())
        self.folder.write(self.folder.checkpoint.name, Checkpoint(self.history, states, self.best).write)
        self.model.stop_training = self.is_done()

    def _variables(self):
        return [*self.network.variables, *self.network.optimizer.variables]

    def _restore(self):
        kept = Checkpoint.read(self.folder.checkpoint)
        variables = self._variables()
        for expected, values in ((variables, kept.states), (self.network.variables, kept.best)):
            if [value.shape for value in values] != [tuple(variable.shape) for variable in expected]:
                raise InputError(
                    f"{self.folder.checkpoint} belongs to another network, the run cannot be resumed."
                )
        _assign(variables, kept.states)
        self.history, self.best = kept.history, kept.best


def _values(variables):
    return [variable.numpy() for variable in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def is_done(history, options):
    """Whether all epochs were trained, or the patience is exhausted."""
    since_best = len(history) - best_epoch(history) if history else 0
    return len(history) >= options.epochs or since_best >= options.patience


def best_epoch(history):
    """The number of the epoch with the highest score, or without scores the lowest validation loss.

    It is the first of several equal ones.
    """
    return min(history, key=lambda row: -row[SCORE] if SCORE in row else row["val_loss"])["epoch"]
