"""How fast a model writes, beside the usual way, `model.predict` on the whole text for every token.

    python -m benchmarks.writing

Figures are medians of interleaved runs. The usual way is timed at every 25th token, after a first call at
that length, and these times stand for the tokens between.
"""

import argparse

import keras
import numpy as np

import keras_gates
from benchmarks.trace import seconds

CLASSES = 100


def language_model(units):
    said = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(CLASSES, 64)(said)
    x = keras_gates.LSTM(units, return_sequences=True)(x)
    return keras.Model(said, keras.layers.Dense(CLASSES)(x))


def medians(ways, repeats):
    """The median seconds of each function in a dict, run in turn; a first run of each does not count."""
    for way in ways.values():
        way()
    runs = [[seconds(way) for way in ways.values()] for _ in range(repeats)]
    return dict(zip(ways, np.median(runs, axis=0), strict=True))


def usual(model, batch, length, every=25):
    """The seconds that a text takes if each of its tokens is predicted from the whole text before it."""
    lengths = range(every, length + 1, every)
    texts = [np.ones((batch, n), "int32") for n in lengths]
    for text in texts[:3]:
        model.predict(text, verbose=0)
    return every * sum(seconds(lambda text=text: model.predict(text, verbose=0)) for text in texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("length", 500), ("units", 128), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default %(default)s")
    at = parser.parse_args()
    model = language_model(at.units)

    def writing(batch, length=at.length, how="greedy"):
        return lambda: keras_gates.write(model, prompt=[[1]] * batch, length=length, how=how)

    for batch in 1, 64:
        took = medians(
            {
                "greedy": writing(batch),
                "greedy, half as long": writing(batch, at.length // 2),
                "greedy, twice as long": writing(batch, at.length * 2),
                "sampling": writing(batch, how="sampling"),
                "beam 5": writing(batch, how=keras_gates.Beam(5)),
            },
            at.repeats,
        )
        took["predict on the whole text"] = usual(model, batch, at.length)
        print(f"batch {batch}, {at.units} units, {at.length} tokens, medians of {at.repeats}")
        for name, s in took.items():
            longer = {"greedy, half as long": 0.5, "greedy, twice as long": 2}.get(name, 1)
            speed = batch * at.length * longer / s
            print(f"{name:<28}{speed:>12,.0f} tokens/s{s / took['greedy']:>9.2f} × the time of greedy")


if __name__ == "__main__":
    main()
