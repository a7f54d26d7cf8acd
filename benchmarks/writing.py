"""How fast a model writes, beside the usual way, `model.predict` on the whole text for every token.

    python -m benchmarks.writing

In each round every way writes once, so that whatever else the machine does falls on all of them; the first
round does not count. Times are medians of the rounds, and ratios medians of the ratios within a round. The
usual way predicts every 25th token; each prediction stands for the 25 tokens up to it.
"""

import argparse

import keras
import numpy as np

import keras_gates
from benchmarks.trace import seconds

CLASSES, WIDTH, EVERY = 100, 5, 25
SHARES = 0.25, 0.5, 2  # of the length, also written greedily: the time of a token should be the same


def language_model(units):
    said = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(CLASSES, 64)(said)
    x = keras_gates.LSTM(units, return_sequences=True)(x)
    return keras.Model(said, keras.layers.Dense(CLASSES)(x))


def ways_to_write(model, batch, length):
    """By name, a function that writes, and how many steps, of a token for each row, it takes."""

    def writing(steps, how="greedy"):
        def write():
            keras_gates.write(model, prompt=[[1]] * batch, length=steps, how=how)

        return write, steps

    def usual():
        for n in range(EVERY, length + 1, EVERY):
            model.predict(np.ones((batch, n), "int32"), verbose=0)

    return {
        "greedy": writing(length),
        **{f"greedy, {steps} tokens": writing(steps) for steps in (round(s * length) for s in SHARES)},
        "sampling": writing(length, "sampling"),
        f"beam {WIDTH}": writing(length, keras_gates.Beam(WIDTH)),
        "predict on the whole text": (usual, length / EVERY),
    }


def measured(ways, rounds):
    """The seconds of a step of each way in each round, `(rounds, ways)`."""
    times = [[seconds(way) / steps for way, steps in ways.values()] for _ in range(rounds + 1)]
    return np.array(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("length", 500), ("units", 128), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    at = parser.parse_args()
    model = language_model(at.units)
    for batch in 1, 64:
        ways = ways_to_write(model, batch, at.length)
        times = measured(ways, at.rounds)
        ratios = np.median(times / times[:, :1], axis=0)
        print(f"batch {batch}, {at.units} units, {at.length} tokens, medians of {at.rounds} rounds")
        for name, time, ratio in zip(ways, np.median(times, axis=0), ratios, strict=True):
            print(
                f"{name:<28}{batch / time:>12,.0f} tokens/s{1e3 * time:>10.3f} ms a step"
                f"{ratio:>8.2f} × that of greedy"
            )


if __name__ == "__main__":
    main()
