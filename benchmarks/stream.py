"""Microseconds for a token of a stream: native, TensorFlow, ONNX Runtime and LiteRT in one process.

    python benchmarks/stream.py [RUN] [--units 64] [--tokens 200] [--rounds 15] [--json FILE]

RUN is the folder of a trained run of experiments.sentiment; without it, a model of the same layers with
random weights is made: vectors of 20,000 words, an LSTM, the mean over time, probabilities of two labels.
Contestants take turns, each streams the same tokens one by one, from the first states on; outputs are
compared first. Figures are medians over rounds: time elapsed, and time that the processor worked, which is
what counts on a machine that is busy with other things. "words" pushes strings, the others numbers.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import onnxruntime
import tensorflow as tf

import keras_gates
from keras_gates.convert import to_litert, to_onnx

WORDS, FEATURES = 20_000, 64


def sentiment(units):
    """The layers of the default model of experiments.sentiment, with random weights."""
    vectorize = keras.layers.TextVectorization(vocabulary=[f"word{k}" for k in range(WORDS - 2)])
    texts = keras.Input((), dtype="string", name="texts")
    x = keras.layers.Embedding(WORDS, FEATURES, mask_zero=True)(vectorize(texts))
    x = keras_gates.LSTM(units, return_sequences=True)(keras.layers.Dropout(0.5)(x))
    x = keras.layers.Dropout(0.5)(keras_gates.MeanPooling()(x))
    return keras.Model(texts, keras.layers.Dense(2, activation="softmax")(x))


def through_pushes(served, native, tokens):
    """A function that streams the tokens, and returns the last output."""
    stream = served.stream(native=native)

    def streamed():
        stream.reset()
        for token in tokens:
            output = stream.push(token)
        return np.asarray(output)

    return streamed


def through_onnx(model, folder, tokens):
    path = folder / "step.onnx"
    to_onnx(model, path, "step")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a step is too small for several
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    first = {
        given.name: np.zeros((1, *given.shape[1:]), "float32")
        for given in session.get_inputs()
        if given.name != "tokens"
    }

    def streamed():
        states = first
        for token in tokens:
            result = dict(zip(outputs, session.run(None, {**token, **states}), strict=True))
            states = {name: result[f"{name}_after"] for name in states}
        return result["outputs"]

    return streamed


def through_litert(model, folder, tokens):
    path = folder / "step.tflite"
    to_litert(model, path, "step")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to move to a package of its own
        step = tf.lite.Interpreter(str(path), num_threads=1).get_signature_runner()
    first = {
        name: np.zeros(about["shape"], about["dtype"])
        for name, about in step.get_input_details().items()
        if name != "tokens"
    }

    def streamed():
        states = first
        for token in tokens:
            result = step(**token, **states)
            states = {name: result[name] for name in states}
        return result["outputs"]

    return streamed


def contestants(run, folder, options):
    """By name, functions that stream the same tokens, and the states' folder."""
    if run is None:
        model, saved = sentiment(options.units), folder / "saved_model"
        keras_gates.export(model, saved)
    else:
        model, saved = keras.saving.load_model(run / "model.keras"), run / "saved_model"
    served = keras_gates.load(saved)
    vocabulary = served.metadata["vocabulary"]
    chosen = np.random.default_rng(0).integers(2, len(vocabulary), options.tokens)
    tokens = [{"tokens": np.array([k])} for k in chosen]
    return {
        "native": through_pushes(served, True, tokens),
        "native, words": through_pushes(served, True, [vocabulary[k] for k in chosen]),
        "TensorFlow": through_pushes(served, False, tokens),
        "ONNX Runtime": through_onnx(model, folder, tokens),
        "LiteRT": through_litert(model, folder, tokens),
    }


def measured(streams, tokens, rounds):
    """Microseconds for a token, elapsed and worked: for each contestant a pair of lists over rounds."""
    taken = {name: ([], []) for name in streams}
    for _ in range(rounds):
        for name, streamed in streams.items():
            for clock, each in zip((time.perf_counter, time.process_time), taken[name], strict=True):
                start = clock()
                streamed()
                each.append((clock() - start) / tokens * 1e6)
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", nargs="?", type=pathlib.Path, metavar="RUN")
    parser.add_argument("--units", type=int, default=64, help="of the model that is made without RUN")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        streams = contestants(options.run, pathlib.Path(folder), options)
        expected = streams["TensorFlow"]()
        for streamed in streams.values():
            np.testing.assert_allclose(streamed(), expected.reshape(1, -1), rtol=0, atol=1e-5)
        taken = measured(streams, options.tokens, options.rounds)
    medians = {name: tuple(map(statistics.median, pair)) for name, pair in taken.items()}
    for name, (elapsed, worked) in medians.items():
        print(f"{name:14s} {elapsed:8.1f} µs a token, {worked:8.1f} µs of work")
    if options.json:
        about = {
            "command": " ".join(sys.argv),
            "tensorflow": tf.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
            "cores": len(os.sched_getaffinity(0)),
        }
        options.json.write_text(
            json.dumps({**about, "elapsed and worked, µs": medians, "rounds": taken}, indent=1)
        )


if __name__ == "__main__":
    main()
