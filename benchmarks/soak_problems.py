"""The fused kernels beside the plain path and beside float64, on random problems.

    python benchmarks/soak_problems.py --count 5000 [--dtype mixed_bfloat16]

`--first 2000` goes on where a run ended. It prints its figures and ends with status 1 on a finding.
"""

import argparse
import collections
import os
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import keras_gates

SEED = 7
WITH_KERNELS = ("simple", "indrnn", "lstm", "peephole", "peephole-only", "coupled", "gru", "minimal-gated",
                "janet", "min-gru", "min-lstm", "V", "NIG", "NFG", "NOG", "NIAF", "NOAF",
                "NP", "CIFG", "layer-norm-simple", "layer-norm-gru", "layer-norm-lstm",
                "clockwork", "FGR")  # fmt: skip
# By dtype policy: half a unit of the last place, and an error below which two results differ by luck.
HALF_UNIT = {"float32": 2.0**-24, "mixed_bfloat16": 2.0**-9}
LEAST_ERROR = {"float32": 1e-6, "mixed_bfloat16": 4e-3}
NO_DIGIT = 0.1  # an error from which on there is nothing to compare
NEIGHBOURS = 8  # problems whose weights differ in the last bit, where a single one was not fair


def told(counts):
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def random_problem(draw, rng):
    """A cell, its layer's arguments, and the arrays: x, mask, initial states or None, d_output."""
    name = draw.choice(WITH_KERNELS)
    units, features, batch = (draw.randint(1, most) for most in (70, 70, 17))
    steps = draw.randint(1, 40)
    of_cell = {"activation": draw.choice(["tanh", "tanh", "relu", "linear"])}
    if name == "clockwork":
        of_cell["periods"] = (1, 2, 3, 4)[:units]
    if name in ("peephole", "coupled"):
        gates = "ifo" if name == "peephole" else "fo"
        of_cell["peepholes"] = [gate for gate in gates if draw.random() < 0.6]
        of_cell["output_peephole"] = draw.choice(["current", "previous"])
    if name == "gru":
        of_cell |= {"reset_after": draw.random() < 0.5, "update": draw.choice(["keep", "write"])}
    of_layer = {"return_sequences": draw.random() < 0.7, "go_backwards": draw.random() < 0.3}
    x = rng.normal(size=(batch, steps, features)) * draw.choice([0.1, 1, 10])
    mask = draw.choice(
        [None, rng.random((batch, steps)) < 0.7, np.arange(steps) < rng.integers(0, steps + 1, (batch, 1))]
    )
    d_output = rng.normal(size=(batch, steps, units) if of_layer["return_sequences"] else (batch, units))
    return name, units, of_cell, of_layer, x, mask, d_output, draw.choice([0.3, 1, 3])


def solve(problem, dtype, when, weights=None):
    """Under a dtype policy: the output, and the gradients of the input and all weights; and the weights."""
    import tensorflow as tf

    name, units, of_cell, of_layer, x, mask, d_output, scale = problem
    layer = keras_gates.RNN(
        keras_gates.cell_classes()[name](units, dtype=dtype, **of_cell), dtype=dtype, **of_layer
    )
    layer.build(x.shape)
    if weights is None:
        rng = np.random.default_rng(SEED)
        weights = [rng.normal(size=w.shape) * scale / np.sqrt(w.shape[0]) for w in layer.get_weights()]
        weights = [w.astype("float32") for w in weights]
    layer.set_weights(weights)
    x = tf.constant(x.astype("float32"), layer.variable_dtype)
    with keras_gates.use_kernels(when), tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, mask=mask, training=True)
    variables = [variable.value for variable in layer.trainable_variables]
    gradients = tape.gradient(y, [x, *variables], tf.constant(d_output, y.dtype))
    return [np.asarray(result) for result in [y, *gradients] if result is not None], weights


def error_of(results, reference):
    """The largest difference of any result, relative to the largest number there if that is above one."""
    return max(
        (np.abs(a - b).max() / max(1, np.abs(b).max()) for a, b in zip(results, reference, strict=True)),
        default=0,
    )


def error_nearby(problem, dtype, weights, reference):
    """The plain path's largest error where the weights are moved by half a unit of the last place."""
    rng = np.random.default_rng(SEED)
    errors = []
    for _ in range(NEIGHBOURS):
        moved = [w * (1 + rng.uniform(-1, 1, w.shape) * HALF_UNIT[dtype]) for w in weights]
        errors.append(error_of(solve(problem, dtype, "never", moved)[0], reference))
    return max(errors)


def problems(options):
    """Solve random problems with the kernels, on the plain path, and on the plain path in float64.

    The error of the kernels is at most twice that of the plain path. Where it is more, rounding may have been
    kinder to the one than to the other, above all where linear activations amplify it: then the plain path
    solves some neighbours of the problem too, and its largest error counts; if no digit is right there, the
    problem is left out. How often each is more than twice as far off as the other is told as well. Problem k
    depends on k and the seed.
    """
    findings, counts, worst, both = [], collections.Counter(), (0.0, "none"), []
    for k in range(options.first, options.first + options.count):
        draw = random.Random(f"{options.seed}/{k}")
        problem = random_problem(draw, np.random.default_rng([options.seed, k]))
        plain, weights = solve(problem, options.dtype, "never")
        fused, _ = solve(problem, options.dtype, "training", weights)
        reference, _ = solve(problem, "float64", "never", weights)
        if not all(np.isfinite(result).all() and np.abs(result).max() < 1e20 for result in reference):
            counts["overflow"] += 1
            continue
        counts["compared"] += 1
        counts["differ in some bit from the plain path"] += not all(map(np.array_equal, fused, plain))
        both.append([error_of(results, reference) for results in (fused, plain)])
        error, plain_error = (max(error, LEAST_ERROR[options.dtype]) for error in both[-1])
        if error > 2 * (likely := plain_error):
            likely = max(plain_error, error_nearby(problem, options.dtype, weights, reference))
        if likely > NO_DIGIT:
            counts["without a right digit"] += 1
            continue
        worst = max(worst, (error, f"problem {k}, {problem[0]}"))
        counts["kernels more than twice as far off"] += error > 2 * plain_error
        counts["plain path more than twice as far off"] += plain_error > 2 * error
        if not error <= 2 * likely:
            findings.append(
                f"problem {k}, {problem[0]} {problem[2]}: {error:.1e}, where {2 * likely:.1e} is allowed"
            )
        if (k + 1) % 500 == 0:
            print(f"up to problem {k}: {told(counts)}, {len(findings)} findings", flush=True)
    if not counts["differ in some bit from the plain path"]:
        findings.append("the kernels served in no problem")
    print(f"{told(counts)}; largest error {worst[0]:.1e} in {worst[1]}")
    if both:
        print("median error: kernels {:.1e}, plain path {:.1e}".format(*np.median(both, axis=0)))
    for finding in findings:
        print("FINDING", finding)
    return 1 if findings else 0


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {
        "count": (50, "problems"),
        "first": (0, "number of the first problem"),
        "seed": (0, "of the draws"),
    }
    for size, (default, what) in sizes.items():
        parser.add_argument(f"--{size}", type=int, default=default, help=f"{what} (default: %(default)s)")
    parser.add_argument("--dtype", choices=HALF_UNIT, default="float32", help="the policy of the two")
    return problems(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
