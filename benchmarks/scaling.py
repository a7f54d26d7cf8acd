"""How the cost of a step of training grows with the time and the batch: twelve points each, fitted by a line.

    python benchmarks/scaling.py [--cell lstm] [--units 64] [--rounds 7] [--json FILE] [--picture FILE]

Forward and backward with kernels: processor time, which other work on the machine hardly changes, all threads
together; medians over rounds, in which all points take their turn, each right after a run of its own. The
line is fitted by least squares of relative errors; `misfit` is the largest deviation of a point from it,
relative to the line.
"""

import argparse
import json
import os
import random
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from speed import keras_runs, versions

import keras_gates

TIMES, BATCHES = range(25, 301, 25), range(8, 97, 8)
BATCH, TIME = 32, 100  # where the other one is varied


def run_of(cell, batch, time, units):
    """A function of no argument that runs forwards and backwards."""
    rng = np.random.default_rng(0)
    x, d_output = (tf.constant(rng.normal(size=(batch, time, units)), "float32") for _ in range(2))
    layer = keras_gates.RNN(keras_gates.cell_classes()[cell](units), return_sequences=True)
    return keras_runs(layer, x, d_output, jit=False, kernels=True)["both"]


def fitted(points, milliseconds):
    """The line, offset and slope, and how far the worst point is from it, relative to the line."""
    a = np.stack([np.ones(len(points)), np.asarray(points, float)], axis=1)
    weights = 1 / np.asarray(milliseconds)
    (offset, slope), *_ = np.linalg.lstsq(a * weights[:, None], np.ones(len(points)), rcond=None)
    line = offset + slope * a[:, 1]
    return {"offset": offset, "slope": slope, "misfit": float(np.max(np.abs(milliseconds / line - 1)))}


def measure(options):
    tasks = {("time", n): run_of(options.cell, BATCH, n, options.units) for n in TIMES}
    tasks |= {("batch", n): run_of(options.cell, n, TIME, options.units) for n in BATCHES}
    taken = {task: [] for task in tasks}
    for _ in range(options.rounds):
        for task in random.sample(list(tasks), len(tasks)):
            tasks[task]()
            start = time.process_time()
            tasks[task]()
            taken[task].append(time.process_time() - start)
    medians = {task: 1e3 * statistics.median(each) for task, each in taken.items()}
    found = {}
    for axis, points in (("time", TIMES), ("batch", BATCHES)):
        milliseconds = [medians[axis, n] for n in points]
        found[axis] = {"points": list(points), "milliseconds": milliseconds, **fitted(points, milliseconds)}
    return found


def draw(found, options):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    others = {"time": f"batch {BATCH}", "batch": f"{TIME} steps"}
    for axis, (name, line) in zip(axes, found.items(), strict=True):
        axis.plot(line["points"], line["milliseconds"], "o")
        ends = np.array([0, line["points"][-1]])
        axis.plot(ends, line["offset"] + line["slope"] * ends, color="black", linewidth=0.8)
        axis.set(xlabel={"time": "steps", "batch": "batch"}[name], ylabel="ms of processor time")
        axis.set(
            xlim=(0, None), ylim=(0, None), title=f"{options.cell}, {options.units} units, {others[name]}"
        )
    figure.tight_layout()
    figure.savefig(options.picture, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", choices=list(keras_gates.cell_classes()), default="lstm")
    parser.add_argument("--units", type=int, default=64, help="also the number of features")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--picture", help="where to draw them")
    options = parser.parse_args()
    found = measure(options)
    for name, line in found.items():
        print(
            f"{name}: {line['offset']:.2f} ms + {1e3 * line['slope']:.1f} µs for each one, "
            f"misfit {line['misfit']:.0%}"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"versions": versions(), **found}, file, indent=1)
    if options.picture:
        draw(found, options)


if __name__ == "__main__":
    main()
