"""Peak memory of one training step, each way in a process of its own: kernels, plain path, Keras' layer.

    python benchmarks/memory.py [--cell lstm] [--shape 64x200x64x256]

Prints by how many MiB the process grew, at its peak, over several steps: inputs, results and all.
"""

import argparse
import resource
import subprocess
import sys

WAYS = ("kernels", "plain", "Keras")
STEPS = 5


def peak():
    """The largest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth(way, cell, shape):
    import numpy as np
    import tensorflow as tf
    from speed import NEAREST, keras_runs

    import keras_gates

    batch, steps, features, units = shape
    own = keras_gates.cell_classes()[cell]
    layer_of = NEAREST[cell] if way == "Keras" else lambda units, **a: keras_gates.RNN(own(units), **a)
    small = [tf.zeros((1, 2, n)) for n in (features, units)]
    keras_runs(layer_of(units, return_sequences=True), *small, jit=False, kernels=way == "kernels")["both"]()
    before = peak()
    x = tf.constant(np.zeros((batch, steps, features), "float32"))
    d_output = tf.constant(np.ones((batch, steps, units), "float32"))
    runs = keras_runs(
        layer_of(units, return_sequences=True), x, d_output, jit=False, kernels=way == "kernels"
    )
    for _ in range(STEPS):
        runs["both"]()
    return peak() - before


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cell", choices=("simple", "lstm", "gru"), default="lstm")
    parser.add_argument("--shape", default="64x200x64x256")
    parser.add_argument("--way", choices=WAYS, help="this one only, in this process")
    options = parser.parse_args()
    if options.way:
        from speed import parse_shape

        print(f"{options.way}: {growth(options.way, options.cell, parse_shape(options.shape)):.0f} MiB")
        return
    for way in WAYS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--way", way], check=True)


if __name__ == "__main__":
    main()
