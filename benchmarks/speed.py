"""How fast sequences go through the cells: kernels, plain path, Keras' layers and PyTorch's, side by side.

    python benchmarks/speed.py [--cells lstm …] [--shapes 64x200x64x256 …] [--rounds 15]
                               [--dtype mixed_bfloat16] [--json FILE] [--picture FILE]

Every contestant runs once per round, in an order drawn anew each round, so that what slows the machine down
slows all of them; figures are medians over rounds, and only their ratios mean anything elsewhere.
`forward` is the forward pass of a training step, `both` adds the gradients of the inputs and all weights.
Under `mixed_bfloat16` the kernels in float32 run beside the others, and PyTorch does not.
"""

import argparse
import json
import math
import os
import random
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import keras_gates

try:
    import torch
except ImportError:
    torch = None

SHAPES = ["32x100x128x128", "64x200x64x256", "32x200x128x64"]
CELLS = ["simple", "lstm", "peephole", "coupled", "gru"]
NEAREST = {"simple": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
TORCH = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
MORE_CELLS = [
    "NIG", "NFG", "NOG", "NIAF", "NOAF", "minimal-gated", "janet", "min-gru", "min-lstm",
    "peephole-only", "indrnn", "slstm", "layer-norm-lstm", "layer-norm-gru", "layer-norm-simple",
    "clockwork", "FGR", "depth-gated",
]  # fmt: skip
LEAST_REST = 0.05  # seconds; OpenBLAS' threads take half of that
KERNELS, PLAIN, KERAS, JIT = "kernels", "plain", "Keras", "Keras, jit"
PYTORCH, SINGLE = "PyTorch", "kernels in float32"


def keras_runs(layer, x, d_output, jit, kernels):
    """Functions of no argument that run the layer forwards, and both ways."""
    layer.build(x.shape)
    weights = [variable.value for variable in layer.trainable_variables]
    x, d_output = tf.cast(x, layer.compute_dtype), tf.cast(d_output, layer.compute_dtype)

    @tf.function(jit_compile=jit)
    def forward(x):
        return layer(x, training=True)

    @tf.function(jit_compile=jit)
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return tape.gradient(y, [x, *weights], d_output)

    with keras_gates.use_kernels("training" if kernels else "never"):
        forward(x), both(x)
    return {"forward": lambda: forward(x), "both": lambda: both(x)}


def torch_runs(name, x, d_output, units):
    layer = getattr(torch.nn, name)(x.shape[-1], units, batch_first=True)
    x, d_output = torch.from_numpy(x.numpy()).requires_grad_(), torch.from_numpy(d_output.numpy())

    def both():
        x.grad = None
        layer.zero_grad()
        layer(x)[0].backward(d_output)

    return {"forward": lambda: layer(x)[0], "both": both}


def contestants(cell, shape, dtype):
    batch, steps, features, units = shape
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(batch, steps, features)), "float32")
    d_output = tf.constant(rng.normal(size=(batch, steps, units)), "float32")
    own = keras_gates.cell_classes()[cell]

    def ours(dtype=dtype):
        return keras_gates.RNN(own(units, dtype=dtype), return_sequences=True, dtype=dtype)

    def theirs():
        if cell in NEAREST:
            return NEAREST[cell](units, return_sequences=True, dtype=dtype)
        return keras.layers.RNN(own(units, dtype=dtype), return_sequences=True, dtype=dtype)

    runs = {
        KERNELS: keras_runs(ours(), x, d_output, jit=False, kernels=True),
        PLAIN: keras_runs(ours(), x, d_output, jit=False, kernels=False),
        KERAS: keras_runs(theirs(), x, d_output, jit=False, kernels=False),
        JIT: keras_runs(theirs(), x, d_output, jit=True, kernels=False),
    }
    if dtype != "float32":
        runs[SINGLE] = keras_runs(ours("float32"), x, d_output, jit=False, kernels=True)
    elif torch and cell in TORCH:
        runs[PYTORCH] = torch_runs(TORCH[cell], x, d_output, units)
    return runs


def peak_runs(size=1024):
    """Large square products in every library at hand; the fastest is the machine's peak."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype("float32")
    runs = {"NumPy": lambda: a @ a}
    on_tf = tf.constant(a)
    runs["TensorFlow"] = lambda: tf.matmul(on_tf, on_tf)
    if torch:
        on_torch = torch.from_numpy(a)
        runs["PyTorch"] = lambda: on_torch @ on_torch
    return runs, 2 * size**3


def interleaved(tasks, rounds):
    """Seconds of each task, a list over rounds. `tasks` maps a name to a function of no argument.

    Each run is timed right after another of the same task, as a step of training follows a step. Then comes
    a rest as long, so that other work on the machine gets its turn between the runs rather than during
    them, and long enough for the threads of other libraries, which wait for more in a loop, to go to sleep.
    """
    for task in tasks.values():
        task()
    seconds = {name: [] for name in tasks}
    for _ in range(rounds):
        for name in random.sample(list(tasks), len(tasks)):
            tasks[name]()
            started = time.perf_counter()
            tasks[name]()
            seconds[name].append(time.perf_counter() - started)
            time.sleep(max(seconds[name][-1], LEAST_REST))
    return seconds


def operations(cell, shape, way):
    """Floating-point operations of the matrix products: one product forwards, two more backwards."""
    batch, steps, features, units = shape
    own = keras_gates.cell_classes()[cell](units)
    own.build((None, features))
    matrices = [w for w in own.trainable_weights if len(w.shape) == 2 and w.name != "bias"]
    forward = 2 * batch * steps * sum(math.prod(matrix.shape) for matrix in matrices)
    return forward * (1 if way == "forward" else 3)


def measure(cell, shape, rounds, dtype):
    runs = contestants(cell, shape, dtype)
    products, flops_of_product = peak_runs()
    tasks = {(name, way): run for name, ways in runs.items() for way, run in ways.items()}
    tasks |= {("peak", name): run for name, run in products.items()}
    medians = {name: statistics.median(s) for name, s in interleaved(tasks, rounds).items()}
    peak = flops_of_product / min(seconds for (kind, _), seconds in medians.items() if kind == "peak")
    rows = []
    for way in ("forward", "both"):
        milliseconds = {name: 1e3 * medians[name, way] for name in runs}
        ours = milliseconds[KERNELS]
        rows.append(
            {
                "cell": cell,
                "shape": "x".join(map(str, shape)),
                "way": way,
                "milliseconds": milliseconds,
                "times as fast": {name: ms / ours for name, ms in milliseconds.items() if name != KERNELS},
                "of Keras' faster": min(milliseconds[KERAS], milliseconds[JIT]) / ours,
                "share of peak": operations(cell, shape, way) / (ours / 1e3) / peak,
                "peak GFLOP/s": peak / 1e9,
            }
        )
    return rows


def contestants_of(rows):
    """The names of all that ran, the kernels first, PyTorch or the kernels in float32 last."""
    return [KERNELS, PLAIN, KERAS, JIT, SINGLE if SINGLE in rows[0]["milliseconds"] else PYTORCH]


def table(rows):
    names = contestants_of(rows)
    lines = [
        "| cell | batch×time×input×units | way | " + " | ".join(f"{n}, ms" for n in names)
        + f" | × Keras' faster | × {names[-1]} | of peak |",
        "|" + "---|" * (len(names) + 6),
    ]  # fmt: skip
    for row in rows:
        times = [f"{row['milliseconds'][n]:.1f}" if n in row["milliseconds"] else "" for n in names]
        ratio = row["times as fast"].get(names[-1])
        cells = [
            row["cell"], row["shape"], row["way"], *times, format(row["of Keras' faster"], ".2f"),
            f"{ratio:.2f}" if ratio else "", f"{row['share of peak']:.0%}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = contestants_of(rows)[1:]
    figure, axes = plt.subplots(2, 1, figsize=(1.2 * len(rows), 8), sharex=True)
    for axis, way in zip(axes, ("forward", "both"), strict=True):
        chosen = [row for row in rows if row["way"] == way]
        for k, name in enumerate(names):
            heights = [row["times as fast"].get(name, 0) for row in chosen]
            axis.bar(np.arange(len(chosen)) + 0.2 * k, heights, 0.2, label=name)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_ylabel(f"time over kernels' time, {way}")
        axis.set_xticks(
            np.arange(len(chosen)) + 0.3, [f"{r['cell']}\n{r['shape']}" for r in chosen], rotation=60
        )
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path)


def parse_shape(text):
    try:
        shape = tuple(int(n) for n in text.split("x"))
    except ValueError:
        shape = ()
    if len(shape) != 4 or min(shape) < 1:
        raise argparse.ArgumentTypeError(
            f"expected batch x time x input x units such as 64x200x64x256; got {text!r}"
        )
    return shape


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", choices=CELLS + MORE_CELLS, default=CELLS)
    parser.add_argument("--shapes", nargs="+", type=parse_shape, default=[parse_shape(s) for s in SHAPES])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", choices=["float32", "mixed_bfloat16"], default="float32", help="policy")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--picture", help="where to draw them")
    options = parser.parse_args()
    rows = []
    for cell in options.cells:
        for shape in options.shapes:
            rows += measure(cell, shape, options.rounds, options.dtype)
            print("\n".join(table(rows).splitlines()[-2:]), file=sys.stderr)
    print(table(rows))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"versions": versions(), "rows": rows}, file, indent=1)
    if options.picture:
        draw(rows, options.picture)


def versions():
    return {
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "torch": torch.__version__ if torch else None,
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
    }


if __name__ == "__main__":
    main()
