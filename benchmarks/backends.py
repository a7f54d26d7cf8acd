"""How fast a step of training goes through a layer on each backend of Keras: kernels, Keras' layer, torch.nn.

    python benchmarks/backends.py [--cells lstm gru] [--shapes 64x200x64x256 …] [--rounds 7]
                                  [--jax PYTHON] [--torch PYTHON] [--json FILE]

`--jax` and `--torch` are interpreters that have these frameworks; by default this one, and a backend that it
does not have is left out. A step is the outputs and the gradients of the inputs and all weights. Each backend
has a process of its own; they take turns, one run at a time, in an order drawn anew each round, and wait
without work in between. Figures are medians over rounds of the second of two runs, elapsed / CPU time, and
only their ratios mean anything elsewhere; where other work shares the machine, CPU time says more.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHAPES = ["32x100x128x128", "64x200x64x256", "32x200x128x64"]
CELLS = {"lstm": "LSTM", "gru": "GRU"}
REST = 0.1  # seconds after each run, so that the threads of the libraries go to sleep
TORCH = "torch.nn"


# -- a process of one backend


def step_on_tensorflow(layer, x, d_outputs):
    import tensorflow as tf

    x, weights = tf.constant(x), [v.value for v in layer.trainable_variables]

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, [x, *weights], d_outputs)

    return lambda: step(x)


def step_on_jax(layer, x, d_outputs):
    import jax

    trained, others = (
        [v.value for v in vs] for vs in (layer.trainable_variables, layer.non_trainable_variables)
    )
    x, d_outputs = jax.numpy.asarray(x), jax.numpy.asarray(d_outputs)

    @jax.jit
    def step(x, trained):
        outputs_of = lambda x, trained: layer.stateless_call(trained, others, x, training=True)[0]  # noqa: E731
        _, gradients_of = jax.vjp(outputs_of, x, trained)
        return gradients_of(d_outputs)

    return lambda: jax.block_until_ready(step(x, trained))


def step_on_torch(layer, x, d_outputs):
    import torch

    x, d_outputs = torch.tensor(x, requires_grad=True), torch.tensor(d_outputs)
    weights = [v.value for v in getattr(layer, "trainable_variables", [])] or list(layer.parameters())

    def step():
        y = layer(x) if isinstance(layer, torch.nn.RNNBase) else layer(x, training=True)
        y = y[0] if isinstance(y, tuple) else y
        return torch.autograd.grad(y, [x, *weights], d_outputs)

    return step


def contestants(backend, cell, shape):
    """Functions of no argument, by name."""
    import keras
    import numpy as np

    import keras_gates

    batch, time_steps, features, units = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, time_steps, features)).astype("float32")
    d_outputs = rng.normal(size=(batch, time_steps, units)).astype("float32")
    step = {"tensorflow": step_on_tensorflow, "jax": step_on_jax, "torch": step_on_torch}[backend]
    runs = {}
    for name, module in {"kernels": keras_gates, "Keras": keras.layers}.items():
        layer = getattr(module, CELLS[cell])(units, return_sequences=True)
        layer.build(x.shape)
        runs[name] = step(layer, x, d_outputs)
        runs[name]()  # traces and compiles
    if backend == "torch":
        import torch

        runs[TORCH] = step(getattr(torch.nn, CELLS[cell])(features, units, batch_first=True), x, d_outputs)
        runs[TORCH]()
    return runs


def serve(backend, contestants):
    """Answer each line of JSON: `[cell, shape]` with names of contestants, a name with its seconds."""
    runs = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, list):
            runs = contestants(backend, *asked)
            answer = list(runs)
        else:
            runs[asked]()
            started = time.perf_counter(), time.process_time()
            runs[asked]()
            answer = time.perf_counter() - started[0], time.process_time() - started[1]
        print(json.dumps(answer), flush=True)


# -- the process that asks them


class Worker:
    def __init__(self, backend, python, script=__file__):
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        self.process = subprocess.Popen(
            [python, script, "--serve", backend], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"The process of a backend ended with {self.process.wait()}; see above.")
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def has(python, module):
    return not subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode


def measure(workers, cell, shape, rounds):
    """Median seconds by (backend, name): elapsed, and of CPU time."""
    turns = [(backend, name) for backend, worker in workers.items() for name in worker.ask([cell, shape])]
    seconds = {turn: [] for turn in turns}
    for _ in range(rounds):
        for backend, name in random.sample(turns, len(turns)):
            seconds[backend, name].append(workers[backend].ask(name))
            time.sleep(REST)
    return {turn: list(map(statistics.median, zip(*each, strict=True))) for turn, each in seconds.items()}


def measure_all(workers, options):
    """A row for each cell and shape, with milliseconds by contestant; then the workers end."""
    rows = []
    for cell in options.cells:
        for shape in options.shapes:
            medians = measure(workers, cell, [int(n) for n in shape.split("x")], options.rounds)
            milliseconds = {
                f"{name}, {backend}": [1e3 * s for s in both] for (backend, name), both in medians.items()
            }
            rows.append({"cell": cell, "shape": shape, "milliseconds": milliseconds})
            print(table(rows).splitlines()[-1], file=sys.stderr)
    for worker in workers.values():
        worker.end()
    return rows


def table(rows):
    columns = list(dict.fromkeys(key for row in rows for key in row["milliseconds"]))
    lines = ["| cell | batch × time × input × units | " + " | ".join(f"{c}, ms" for c in columns) + " |"]
    lines.append("|" + "---|" * (len(columns) + 2))
    for row in rows:
        times = [" / ".join(format(ms, ".1f") for ms in row["milliseconds"].get(c, ())) for c in columns]
        lines.append("| " + " | ".join([row["cell"], row["shape"], *times]) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jax", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--serve", choices=["tensorflow", "jax", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, contestants)
    pythons = {"tensorflow": sys.executable, "jax": options.jax, "torch": options.torch}
    workers = {backend: Worker(backend, p) for backend, p in pythons.items() if has(p, backend)}
    rows = measure_all(workers, options)
    print(table(rows))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
