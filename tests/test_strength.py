"""What makes the networks for texts stronger: averaged weights, smoothed labels, vectors from a file, …"""

import argparse

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import tensorflow as tf

from experiments.common.batches import Batches, pad
from experiments.common.fitting import Checkpoint, compile_model, fit
from experiments.common.run_folder import RunFolder
from experiments.common.training import Problem
from experiments.sentiment import __main__ as sentiment

# -- averaged weights

MOMENTUM = 0.8
IDS = [[1, 2], [2, 3, 1], [3], [2, 2, 3, 1], [1, 1]]


def small_problem(callbacks=()):
    """Five sequences of ids with two labels, and a network that reads them; always the same."""
    keras.utils.set_random_seed(3)
    labels = np.array([0, 1, 1, 0, 1], "int32")
    batches = Batches(
        [len(row) for row in IDS],
        lambda indices: (pad([IDS[at] for at in indices]), labels[indices]),
        (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32)),
        batch_size=2,
    )
    ids = keras.Input((None,), dtype="int32")
    features = keras.layers.Dropout(0.2)(keras.layers.Embedding(4, 3)(ids))
    model = keras.Model(ids, keras.layers.Dense(2)(keras.ops.mean(features, axis=1)))
    return Problem(
        train=batches, validation=batches, model=model, serving=None, test=None, labels=("a", "b"), facts={},
        callbacks=callbacks,
    )  # fmt: skip


def fitted(folder, epochs, average=MOMENTUM, callbacks=()):
    """The problem after so many epochs in all, its history, and the checkpoint of the folder."""
    options = sentiment.train_parser().parse_args(["--average", str(average), "--learning-rate", "0.1"])
    options.epochs, options.patience = epochs, epochs
    problem = small_problem(callbacks)
    compile_model(problem.model, options, steps=9)
    history = fit(problem, options, folder)
    return problem, history, Checkpoint.read(folder.checkpoint)


class Weights(keras.callbacks.Callback):
    """The weights after every batch."""

    def on_train_begin(self, logs=None):
        self.after = []

    def on_train_batch_end(self, batch, logs=None):
        self.after.append([weight.numpy() for weight in self.model.trainable_variables])


def test_the_averaged_weights_are_validated_and_kept_and_the_training_goes_on_from_its_own(tmp_path):
    seen = Weights()
    problem, history, checkpoint = fitted(RunFolder.create(tmp_path / "run"), 3, callbacks=(seen,))
    assert len(seen.after) == 9
    average = [weight.astype("float64") for weight in seen.after[0]]
    losses, averages = [], []
    for step, weights in enumerate(seen.after):
        if step:
            average = [
                MOMENTUM * old + (1 - MOMENTUM) * new for old, new in zip(average, weights, strict=True)
            ]
        if step % 3 == 2:
            for variable, value in zip(problem.model.trainable_variables, average, strict=True):
                variable.assign(value)
            losses.append(problem.model.evaluate(problem.validation.once(), verbose=0)[0])
            averages.append(average)
    np.testing.assert_allclose([row["val_loss"] for row in history], losses, rtol=1e-5)
    trainable = [at for at, variable in enumerate(problem.model.variables) if variable.trainable]
    for at, best in zip(trainable, averages[int(np.argmin(losses))], strict=True):
        np.testing.assert_allclose(checkpoint.best[at], best, rtol=1e-5, atol=1e-7)
    for at, last in zip(trainable, seen.after[-1], strict=True):
        np.testing.assert_array_equal(checkpoint.states[at], last)


def test_a_resumed_run_with_averaged_weights_is_equal_to_one_that_was_not_interrupted(tmp_path):
    whole = fitted(RunFolder.create(tmp_path / "whole"), 3)
    folder = RunFolder.create(tmp_path / "cut")
    fitted(folder, 2)
    resumed = fitted(folder, 3)
    for one, other in zip(whole[2][1] + whole[2][2], resumed[2][1] + resumed[2][2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert [row["val_loss"] for row in whole[1]] == [row["val_loss"] for row in resumed[1]]
    for one, other in zip(whole[0].model.variables, resumed[0].model.variables, strict=True):
        np.testing.assert_array_equal(one, other)
