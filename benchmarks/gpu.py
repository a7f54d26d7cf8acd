"""How fast a step of training goes through a layer on a GPU: this package and Keras on JAX, and cuDNN.

    python benchmarks/gpu.py [--cells lstm gru peephole coupled] [--shapes 64x200x64x256 …] [--rounds 7]
                             [--jax PYTHON] [--torch PYTHON] [--json FILE]

`--jax` and `--torch` are interpreters that have these frameworks with CUDA; by default this one, and a
framework that it does not have is left out. `loop` is this package as it is, `plain` is it with
`use_kernels("never")`, which is the loop of `keras.layers.RNN`. cuDNN is measured through `torch.nn`, and
through Keras, whose LSTM and GRU call it. A step is the outputs and the
gradients of the inputs and all weights. The frameworks take turns, one run at a time, in an order drawn anew
each round; figures are medians over rounds of the second of two runs, elapsed / CPU time. Without a GPU the
script runs on a CPU, and says so: its figures say nothing of a GPU then.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from backends import SHAPES, Worker, has, measure_all, serve, step_on_jax, step_on_torch, table

CELLS = ["lstm", "gru", "peephole", "coupled"]
OF_OTHERS = {"lstm": "LSTM", "gru": "GRU"}  # the layers of Keras and of PyTorch
HAS_GPU = {
    "jax": "import jax; raise SystemExit(jax.default_backend() != 'gpu')",
    "torch": "import torch; raise SystemExit(not torch.cuda.is_available())",
}


def contestants_on_jax(cell, x, d_outputs):
    import keras

    import keras_gates

    units = d_outputs.shape[-1]
    runs = {}
    for name in ("loop", "plain", *(["Keras"] if cell in OF_OTHERS else [])):
        if name == "Keras":
            layer = getattr(keras.layers, OF_OTHERS[cell])(units, return_sequences=True)
        else:
            layer = keras_gates.RNN(keras_gates.cell_classes()[cell](units), return_sequences=True)
        layer.build(x.shape)
        with keras_gates.use_kernels("never" if name == "plain" else "always"):
            runs[name] = step_on_jax(layer, x, d_outputs)
            runs[name]()  # traces
    return runs


def contestants_on_torch(cell, x, d_outputs):
    import torch

    if cell not in OF_OTHERS:
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        layer = getattr(torch.nn, OF_OTHERS[cell])(x.shape[-1], d_outputs.shape[-1], batch_first=True)
        step = step_on_torch(layer, x, d_outputs)

    def finished():
        step()
        if device == "cuda":
            torch.cuda.synchronize()

    return {"torch.nn": finished}


def contestants(backend, cell, shape):
    """Functions of no argument, by name, that have run once."""
    import numpy as np

    batch, time_steps, features, units = shape
    rng = np.random.default_rng(0)
    x, d_outputs = (
        rng.normal(size=(batch, time_steps, size)).astype("float32") for size in (features, units)
    )
    runs = {"jax": contestants_on_jax, "torch": contestants_on_torch}[backend](cell, x, d_outputs)
    for run in runs.values():
        run()
    return runs


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jax", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--serve", choices=list(HAS_GPU), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve, contestants)
    pythons = {"jax": options.jax, "torch": options.torch}
    pythons = {framework: python for framework, python in pythons.items() if has(python, framework)}
    on_gpu = {
        f: not subprocess.run([p, "-c", HAS_GPU[f]], check=False).returncode for f, p in pythons.items()
    }
    for framework in (name for name, found in on_gpu.items() if not found):
        print(f"{framework} sees no GPU: its figures are those of a CPU.", file=sys.stderr)
    rows = measure_all({f: Worker(f, p, __file__) for f, p in pythons.items()}, options)
    print(table(rows))
    if options.json:
        Path(options.json).write_text(
            json.dumps({"on a GPU": on_gpu, "rows": rows}, indent=1), encoding="utf-8"
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
