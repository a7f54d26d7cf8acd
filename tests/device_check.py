"""Trains on one device and on two CPU devices, in a process of its own, and prints the histories as JSON.

python tests/device_check.py FOLDER
"""

import contextlib
import csv
import json
import sys
import unittest.mock
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common.devices import build_for_fit, predict_on_batch, spread_over
from experiments.common.fitting import compile_model
from experiments.sentiment import __main__ as sentiment


def masked(devices):
    """Histories of labels of steps, some masked and weighted, in batches that two devices halve unequally."""
    spread = spread_over(devices)  # before anything is computed
    rng = np.random.default_rng(0)
    batches = []
    for rows in (3, 4, 1, 5):
        ids = rng.integers(0, 9, (rows, 6)) * (np.arange(6) < rng.integers(1, 7, (rows, 1)))
        labels = rng.integers(0, 3, (rows, 6)).astype("uint8")
        batches.append((ids, labels, rng.random((rows, 6)).astype("float32")))
    signature = tuple(tf.TensorSpec((None, 6), kind) for kind in (tf.int64, tf.uint8, tf.float32))
    data = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    keras.utils.set_random_seed(1)
    with spread:
        model = keras.Sequential(
            [
                keras.layers.Embedding(9, 4, mask_zero=True),
                keras_gates.PeepholeLSTM(5, return_sequences=True),
                keras.layers.Dense(3),
            ]
        )
        model.build((None, 6))
        options = SimpleNamespace(learning_rate=0.05, decay=True, clip=0.01, average=0.0)
        compile_model(model, options, steps=8)
    build_for_fit(model, SimpleNamespace(once=lambda: batches[1:]))
    history = model.fit(data, epochs=2, shuffle=False, verbose=0).history
    weights = np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])
    answers = predict_on_batch(model, batches[0][0])
    return {**history, "weights": weights.tolist(), "answers": answers.tolist()}


def run(folder, name, *options):
    """The history and the loss of the test part of a run on few texts."""
    out = str(folder / name)
    with contextlib.redirect_stdout(sys.stderr):
        code = sentiment.main([*options, "--out", out])
    if code:
        raise SystemExit(code)
    with open(f"{out}/history.csv", encoding="utf-8") as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    metrics = json.loads(Path(out, "metrics.json").read_text(encoding="utf-8"))
    return {name: [row[name] for row in history] for name in history[0] if name != "seconds"} | {
        "test_loss": metrics["test_loss"]
    }


def main():
    folder = Path(sys.argv[1])
    texts = [f"film {at % 7} {'good' if at % 3 else 'bad'} {at}" for at in range(45)]
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, text.split()[2]) for text in texts)])
    small = ["--dataset", str(folder / "texts.csv"), "--units", "3", "--embedding", "4", "--dropout", "0"]
    small += ["--batch-size", "7", "--clip", "0.05", "--patience", "9", "--no-decay"]
    small += ["--adversarial", "0"]  # which trains on one device alone
    two, one = {"masked": masked(2)}, {"masked": masked(1)}
    with unittest.mock.patch("keras_gates.export"):  # which takes longer than all else
        one["run"] = run(folder, "one", *small, "--epochs", "2")
        run(folder, "begun", *small, "--epochs", "1", "--devices", "2")
    two["run"] = run(folder, "two", "--resume", str(folder / "begun"), "--epochs", "2")
    with contextlib.redirect_stderr(sys.stdout):
        sentiment.main([*small, "--out", str(folder / "many"), "--devices", "3"])
    (folder / "histories.json").write_text(json.dumps({"one": one, "two": two}))


if __name__ == "__main__":
    main()
