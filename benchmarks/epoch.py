"""Seconds per epoch of the sentiment task: with the kernels, on the plain path, and with Keras' own layer.

    python benchmarks/epoch.py [--epochs 3] [--json FILE] [-- OPTIONS OF experiments.sentiment]

One model each, from the same weights, over the same batches. They take turns, an epoch at a time, so that
what slows the machine down slows all of them; figures are medians over epochs.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parents[1]))  # the experiments are not installed

import keras

import keras_gates
from experiments.common.fitting import compile_model
from experiments.sentiment.__main__ import train_parser
from experiments.sentiment.problem import prepare

NEAREST = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple": keras.layers.SimpleRNN}


def with_keras_layers(model):
    """The same network with Keras' own recurrent layers in the place of ours."""

    def exchanged(layer):
        if isinstance(layer, keras_gates.RNN):
            theirs = NEAREST[layer.name.rpartition("_")[0]]
            return theirs(layer.cell.units, return_sequences=layer.return_sequences, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=exchanged)


def measure(options, epochs):
    """Per way: seconds of each epoch, and validation accuracy after the last."""
    keras.utils.set_random_seed(options.seed)
    problem = prepare(options, vars(options))  # nothing is left to be chosen
    models = {
        "kernels": problem.model,
        "plain": keras.models.clone_model(problem.model),
        "Keras": with_keras_layers(problem.model),
    }
    for model in models.values():
        model.set_weights(problem.model.get_weights())
        compile_model(model, options, steps=len(problem.train) * epochs)
    seconds = {name: [] for name in models}
    accuracy = {}
    for epoch in range(epochs + 1):  # the first one traces
        for name, model in models.items():
            with keras_gates.use_kernels("training" if name == "kernels" else "never"):
                started = time.perf_counter()
                model.fit(
                    problem.train.endless(first_epoch=epoch),
                    steps_per_epoch=len(problem.train),
                    shuffle=False,
                    verbose=0,
                )
                seconds[name].append(time.perf_counter() - started)
    for name, model in models.items():
        accuracy[name] = model.evaluate(problem.validation.once(), return_dict=True, verbose=0)["accuracy"]
    return {name: {"seconds": seconds[name][1:], "accuracy": accuracy[name]} for name in models}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs of each, after one that is not")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("options", nargs="*", help="of experiments.sentiment, after --")
    arguments = parser.parse_args()
    of_task = train_parser()
    # an adversarial step is one network's own, which its clones would lack
    of_task.set_defaults(adversarial=0.0, average=0.0)
    options = of_task.parse_args(arguments.options)
    if options.adversarial:
        parser.error("--adversarial would train one of the three networks alone.")
    if options.cell not in NEAREST or options.bidirectional:
        parser.error(f"Keras has layers of its own for {', '.join(NEAREST)}, here in one direction only.")
    found = measure(options, arguments.epochs)
    ours = statistics.median(found["kernels"]["seconds"])
    print("| way | seconds per epoch | over kernels' | validation accuracy |\n|---|---|---|---|")
    for name, row in found.items():
        median = statistics.median(row["seconds"])
        print(f"| {name} | {median:.2f} | {median / ours:.2f} | {row['accuracy']:.3f} |")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
