"""How long a trace takes beside a plain forward pass of the same layer: medians of one interleaved run.

    python -m benchmarks.trace

Both are compiled by Keras' `predict`, without XLA, and both give NumPy arrays.
"""

import argparse
import statistics
import time

import keras
import numpy as np

import keras_gates


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(layer, inputs, repeats):
    """Medians of the plain pass and of the trace, in seconds, and the median of their ratios."""
    plain = keras.Sequential([keras.layers.Input(inputs.shape[1:]), layer])
    plain.compile(jit_compile=False)
    ways = (lambda: plain.predict_on_batch(inputs), lambda: keras_gates.trace(layer, inputs))
    for way in ways:
        way()
    runs = np.array([[seconds(way) for way in ways] for _ in range(repeats)])
    return *np.median(runs, axis=0), statistics.median(runs[:, 1] / runs[:, 0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("batch", 64), ("time", 256), ("features", 128), ("units", 128), ("repeats", 15)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    at = parser.parse_args()
    inputs = np.random.default_rng(0).normal(size=(at.batch, at.time, at.features)).astype("float32")
    print(f"{at.batch} sequences × {at.time} steps × {at.units} units, medians of {at.repeats}")
    print(f"{'layer':<28}{'plain ms':>10}{'trace ms':>10}{'ratio':>8}")
    for rnn, output in (
        (keras.layers.RNN, "sequences"),
        (keras.layers.RNN, "last"),
        (keras_gates.RNN, "last"),
    ):
        for name in ("lstm", "gru"):
            layer = rnn(keras_gates.cell_classes()[name](at.units), return_sequences=output == "sequences")
            plain, traced, ratio = compare(layer, inputs, at.repeats)
            label = f"{rnn.__module__.split('.')[0]} {name}, {output}"
            print(f"{label:<28}{plain * 1e3:>10.1f}{traced * 1e3:>10.1f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
