"""Whole calls of Keras' `fit` and `predict`, with the kernels and without, and `predict` of Keras' own LSTM.

    [KERAS_BACKEND=torch] python benchmarks/fit.py [--rounds 5] [--json FILE]

`fit` trains the README's model on sequences of 200 steps; `predict` reads as many by an LSTM of 128 units on
64 features, with default settings. The contestants take turns in an order drawn anew each round; figures are
medians over rounds in processor time, which busy neighbours disturb less, and elapsed, and only their ratios
mean anything elsewhere. `KERAS_GATES_KERNELS` says when kernels are used, as always.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np

import keras_gates

STEPS = 200


def readme_model():
    """The first model of the README, compiled."""
    model = keras.Sequential(
        [
            keras.Input((None, 32)),
            keras_gates.PeepholeLSTM(64, return_sequences=True, dropout=0.2),
            keras.layers.Bidirectional(keras_gates.CoupledLSTM(64)),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def contestants(fitted, predicted):
    """Functions by task and way; `fit` reads `fitted` sequences, `predict` `predicted` ones."""
    random_numbers = np.random.default_rng(0)
    x = random_numbers.normal(size=(fitted, STEPS, 32)).astype("float32")
    y = random_numbers.integers(0, 2, fitted)
    read = random_numbers.normal(size=(predicted, STEPS, 64)).astype("float32")
    # a model of its own for each way: the function that Keras keeps has or has not the kernels
    of_fit = {"kernels": readme_model(), "plain": readme_model()}
    ours, theirs = keras_gates.LSTM, keras.layers.LSTM
    of_predict = {
        way: keras.Sequential([keras.Input((None, 64)), layer(128)])
        for way, layer in (("kernels", ours), ("plain", ours), ("Keras", theirs))
    }
    return {
        **{("fit", way): lambda m=model: m.fit(x, y, 32, verbose=0) for way, model in of_fit.items()},
        **{("predict", way): lambda m=model: m.predict(read, verbose=0) for way, model in of_predict.items()},
    }


def measure(tasks, rounds):
    """Processor and elapsed seconds of every task, by round."""
    seconds = {key: [] for key in tasks}
    for number in range(rounds + 1):  # the first one traces and compiles
        for key in random.sample(list(tasks), len(tasks)):
            with keras_gates.use_kernels("never") if key[1] == "plain" else contextlib.nullcontext():
                began = time.process_time(), time.perf_counter()
                tasks[key]()
                ended = time.process_time(), time.perf_counter()
            if number:
                seconds[key].append([end - begin for begin, end in zip(began, ended, strict=True)])
    return seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fitted", type=int, default=128, help="sequences of an epoch")
    parser.add_argument("--predicted", type=int, default=512, help="sequences of a prediction")
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    seconds = measure(contestants(options.fitted, options.predicted), options.rounds)
    medians = {
        key: [statistics.median(of_round) for of_round in zip(*rows, strict=True)]
        for key, rows in seconds.items()
    }
    print(f"Backend {keras.backend.backend()}\n")
    print("| task | way | processor, s | elapsed, s | times the kernels' |\n|---|---|---|---|---|")
    for (task, way), (processor, elapsed) in medians.items():
        times = processor / medians[task, "kernels"][0]
        print(f"| {task} | {way} | {processor:.2f} | {elapsed:.2f} | {times:.1f} |")
    if options.json:
        rows = [{"task": task, "way": way, "seconds": median} for (task, way), median in medians.items()]
        Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
