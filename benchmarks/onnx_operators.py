"""ONNX's own recurrent operators beside the loop over a cell's step, in ONNX Runtime, in one run.

    python benchmarks/onnx_operators.py [--units 64] [--time 200] [--batch 1 32] [--rounds 15]

The contestants take turns, so that what slows the machine down slows all of them; what is told is the ratio
of the medians, loop to operator. Outputs are compared first.
"""

import argparse
import pathlib
import tempfile
import time

import keras
import numpy as np
import onnxruntime

import keras_gates
from keras_gates.convert import to_onnx

CELLS = ("lstm", "peephole", "coupled", "gru", "simple")


def sessions(cell, units, folder):
    """The same model in ONNX Runtime, with the operator and with the loop."""
    layer = keras_gates.RNN(keras_gates.cell_classes()[cell](units), return_sequences=True)
    model = keras.Sequential([keras.Input((None, units)), layer])
    for name, native in (("operator", True), ("loop", False)):
        path = pathlib.Path(folder) / f"{cell}_{name}.onnx"
        to_onnx(model, path, native=native)
        yield name, onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def seconds(session, x):
    start = time.perf_counter()
    session.run(None, {"inputs": x})
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--time", type=int, default=200)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, {options.units} units, {options.time} steps")
    with tempfile.TemporaryDirectory() as folder:
        for cell in CELLS:
            contestants = dict(sessions(cell, options.units, folder))
            for batch in options.batch:
                x = (
                    np.random.default_rng(0)
                    .normal(size=(batch, options.time, options.units))
                    .astype("float32")
                )
                given = [session.run(None, {"inputs": x})[0] for session in contestants.values()]
                np.testing.assert_allclose(*given, rtol=0, atol=1e-4)
                taken = {name: [] for name in contestants}
                for _ in range(options.rounds):
                    for name, session in contestants.items():
                        taken[name].append(seconds(session, x))
                ratio = np.median(taken["loop"]) / np.median(taken["operator"])
                print(f"{cell:10s} batch {batch:3d}: loop / operator = {ratio:.1f}")


if __name__ == "__main__":
    main()
