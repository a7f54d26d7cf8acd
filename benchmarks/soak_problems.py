"""The fused kernels beside the plain path and beside float64, on random problems, on any backend of Keras.

    python benchmarks/soak_problems.py --count 5000 [--dtype mixed_bfloat16]
    KERAS_BACKEND=torch python benchmarks/soak_problems.py --count 5000 --jax PYTHON --tensorflow PYTHON

The second command compares the kernels on three backends with the plain path of one: the others run in
processes of their own, by interpreters that have these frameworks. That saves time on JAX, which would
compile the plain path of every problem twice.
`--first 2000` goes on where a run ended. It prints its figures and ends with status 1 on a finding.
"""

import argparse
import collections
import contextlib
import functools
import json
import os
import random
import sys
import tempfile
import unittest.mock
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from backends import Worker

import keras_gates
from keras_gates._arguments import arguments_of
from keras_gates.kernels import operation
from keras_gates.kernels.cells import describe, levels_of
from keras_gates.kernels.wrapped import cell_inside

BACKEND = keras.backend.backend()
BACKENDS = "jax", "tensorflow", "torch"
SEED = 7
# Arguments of cells, and what they are drawn from; see `random_arguments` for the others.
CHOICES = {
    "activation": ["tanh", "tanh", "relu", "linear"],
    "output_activation": ["tanh", "tanh", "linear"],
    "peephole": ["diagonal", "diagonal", "full"],
    "output_peephole": ["current", "previous"],
    "use_bias": [True, True, False],
    "reset_after": [True, False],
    "update": ["keep", "write"],
    "forget": ["sigmoid", "exponential"],
    "carry": ["plain", "normalized"],
    "beta": [1, 2],
    "depth": [2, 3],
}
# By dtype policy: half a unit of the last place, and an error below which two results differ by luck.
HALF_UNIT = {"float32": 2.0**-24, "mixed_bfloat16": 2.0**-9}
LEAST_ERROR = {"float32": 1e-6, "mixed_bfloat16": 4e-3}
NO_DIGIT = 0.1  # an error from which on there is nothing to compare
NEIGHBOURS = 8  # problems whose weights differ in the last bit, where a single one was not fair


def told(counts):
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


# -- a problem, and its solution on the backend at hand


def tensor(array):
    """The backend's tensor of an array. JAX would compile a function for every shape to convert one."""
    if BACKEND != "jax":
        return keras.ops.convert_to_tensor(array)
    import jax

    return jax.device_put(array)


def zeros(shape, dtype):
    """Initial weights, which are set later."""
    return tensor(np.zeros(shape, dtype))


class Problem(NamedTuple):
    """A cell, its layer's arguments, and the arrays."""

    name: str
    units: int
    of_cell: dict[str, Any]
    wrapper: str | None
    of_layer: dict[str, Any]
    x: np.ndarray  # (batch, steps, features)
    mask: np.ndarray | None
    d_output: np.ndarray
    scale: float  # of the weights

    def cell(self, dtype):
        cls = keras_gates.cell_classes()[self.name]
        known = arguments_of(cls)
        initializers = {name: zeros for name in known if name.endswith("_initializer")}
        if "unit_forget_bias" in known:
            initializers["unit_forget_bias"] = False
        cell = cls(self.units, dtype=dtype, **initializers, **self.of_cell)
        if self.wrapper == "residual":
            return keras_gates.ResidualCell(cell, project=True, projection_initializer=zeros)
        return keras_gates.ZoneoutCell(cell, zoneout=0.3) if self.wrapper == "zoneout" else cell

    def __str__(self):
        return f"{self.wrapper or ''} {self.name} {self.of_cell}".strip()


def has_kernels(cell):
    return None not in map(describe, levels_of(cell_inside(cell)))


def problem_of(k, seed):
    """Problem k, which depends on k and the seed alone."""
    draw, rng = random.Random(f"{seed}/{k}"), np.random.default_rng([seed, k])
    problem = random_problem(draw, rng)
    while not has_kernels(problem.cell("float32")):
        problem = random_problem(draw, rng)
    return problem


def random_problem(draw, rng):
    """A problem, whether or not there are kernels for its cell."""
    name = draw.choice(list(keras_gates.cell_classes()))
    wrapper = draw.choice([None] * 6 + ["residual", "zoneout"])
    units, features, batch = (draw.randint(1, most) for most in (70, 70, 17))
    steps = draw.randint(1, 40)
    of_layer = {"return_sequences": draw.random() < 0.7, "go_backwards": draw.random() < 0.3}
    x = rng.normal(size=(batch, steps, features)) * draw.choice([0.1, 1, 10])
    masks = [
        None,
        rng.random((batch, steps)) < 0.7,
        np.arange(steps) < rng.integers(0, steps + 1, (batch, 1)),
    ]
    # What a residual cell shows in a masked step is another thing on each backend.
    mask = draw.choice(masks[:1] if wrapper == "residual" else masks)
    d_output = rng.normal(size=(batch, steps, units) if of_layer["return_sequences"] else (batch, units))
    of_cell = random_arguments(draw, keras_gates.cell_classes()[name], units)
    scale = draw.choice([0.3, 1, 3])
    return Problem(name, units, of_cell, wrapper, of_layer, x, mask, d_output, scale)


def random_arguments(draw, cls, units):
    """A value for each argument of a cell that its kernels know."""
    known = arguments_of(cls)
    arguments = {name: draw.choice(values) for name, values in CHOICES.items() if name in known}
    if "peepholes" in known:
        every = cls(1, peepholes=None).peepholes
        arguments["peepholes"] = [gate for gate in every if draw.random() < 0.6]
    if "periods" in known:
        arguments["periods"] = (1, 2, 3, 4)[:units]
    return arguments


def random_weights(layer, scale):
    rng = np.random.default_rng(SEED)
    weights = [rng.normal(size=w.shape) * scale / np.sqrt(w.shape[0]) for w in layer.weights]
    return [w.astype("float32") for w in weights]


def solve(problem, dtype, when, move=lambda weights: weights):
    """Under a dtype policy: the output, and the gradients of the input and all trained weights."""
    with double_precision_if(dtype == "float64"):
        layer = keras_gates.RNN(problem.cell(dtype), dtype=dtype, **problem.of_layer)
        layer.build(problem.x.shape)
        for weight, value in zip(layer.weights, move(random_weights(layer, problem.scale)), strict=True):
            weight.assign(tensor(value.astype(layer.variable_dtype)))
        variables = layer.trainable_variables
        mask = None if problem.mask is None else tensor(problem.mask)

        def output(x, *values):
            with keras.StatelessScope(zip(variables, values, strict=True)):
                # Zoneout draws in training, on the plain path anew in each step.
                return [layer(x, mask=mask, training=problem.wrapper != "zoneout")]

        x, d_output = (tensor(a.astype(layer.variable_dtype)) for a in (problem.x, problem.d_output))
        d_output = keras.ops.cast(d_output, layer.compute_dtype)
        with keras_gates.use_kernels(when):
            results = differentiate(output, [x, *(v.value for v in variables)], [d_output])
        return [keras.ops.convert_to_numpy(result).astype("float64") for result in results]


def double_precision_if(wanted):
    """A context in which the backend computes in float64 where asked to; JAX needs to be told."""
    if BACKEND != "jax" or not wanted:
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def differentiate(function, primals, cotangents):
    """The results of `function(*primals)`, and the gradients of their sum weighted by the cotangents."""

    def both(primals, cotangents):
        results, gradients = operation.door().vjp(function, primals, cotangents)
        return [*results, *gradients]

    if BACKEND == "jax":
        import jax

        both = jax.jit(both, compiler_options={"xla_backend_optimization_level": 0})  # to compile faster
    return both(primals, cotangents)


def solve_with_kernels(problem, dtype):
    """The results, and whether the kernels computed them."""
    with unittest.mock.patch.object(operation, "run", wraps=operation.run) as run:
        results = solve(problem, dtype, "everywhere")
    return results, run.called


# -- a process of another backend


def serve():
    """Answer each line of JSON `[k, seed, dtype, path]`: solve that problem with the kernels into a file."""
    for line in sys.stdin:
        k, seed, dtype, path = json.loads(line)
        results, served = solve_with_kernels(problem_of(k, seed), dtype)
        np.savez(path, *results)
        print(json.dumps(served), flush=True)


def ask(worker, k, options, folder):
    """What `solve_with_kernels` gives in that process."""
    path = str(Path(folder, "results.npz"))
    served = worker.ask([k, options.seed, options.dtype, path])
    with np.load(path) as results:
        return list(results.values()), served


# -- how they are judged


def error_of(results, reference):
    """The largest difference of any result, relative to the largest number there if that is above one.

    It is NaN if any result is; `max` would not tell.
    """
    errors = [np.abs(a - b).max() / max(1, np.abs(b).max()) for a, b in zip(results, reference, strict=True)]
    return np.max(errors)


def error_nearby(problem, dtype, reference):
    """The plain path's largest error where the weights are moved by half a unit of the last place."""
    rng = np.random.default_rng(SEED)

    def moved(weights):
        return [w * (1 + rng.uniform(-1, 1, w.shape) * HALF_UNIT[dtype]) for w in weights]

    return np.max([error_of(solve(problem, dtype, "never", moved), reference) for _ in range(NEIGHBOURS)])


class Tally:
    """What was found on one backend."""

    def __init__(self, least_error):
        self.least_error = least_error
        self.counts, self.findings = collections.Counter(), []
        self.worst, self.both = (0.0, "none"), []

    def enter(self, what, fused, served, plain, reference, error_nearby):
        """Judge the results of one problem."""
        self.counts["compared"] += 1
        if not served:
            self.findings.append(f"{what}: the kernels did not serve")
        self.both.append([error_of(results, reference) for results in (fused, plain)])
        error, plain_error = (max(error, self.least_error) for error in self.both[-1])
        likely = plain_error if error <= 2 * plain_error else np.maximum(plain_error, error_nearby())
        if not likely <= NO_DIGIT:
            self.counts["without a right digit"] += 1
            return
        self.worst = max(self.worst, (error, what))
        self.counts["kernels more than twice as far off"] += error > 2 * plain_error
        self.counts["plain path more than twice as far off"] += plain_error > 2 * error
        if not error <= 2 * likely:
            self.findings.append(f"{what}: {error:.1e}, where {2 * likely:.1e} is allowed")

    def report(self, backend):
        print(f"{backend}: {told(self.counts)}; largest error {self.worst[0]:.1e} in {self.worst[1]}")
        if self.both:
            print("median error: kernels {:.1e}, plain path {:.1e}".format(*np.median(self.both, axis=0)))
        for finding in self.findings:
            print("FINDING", finding)


def problems(options, workers):
    """Solve random problems with the kernels, on the plain path, and on the plain path in float64.

    The error of the kernels is at most twice that of the plain path. Where it is more, rounding may have been
    kinder to the one than to the other, above all where linear activations amplify it: then the plain path
    solves some neighbours of the problem too, and its largest error counts; if no digit is right there, the
    problem is left out. How often each is more than twice as far off as the other is told as well. Problem k
    depends on k and the seed.
    """
    tallies = {backend: Tally(LEAST_ERROR[options.dtype]) for backend in (BACKEND, *workers)}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(options.first, options.first + options.count):
            problem = problem_of(k, options.seed)
            reference = solve(problem, "float64", "never")
            if all(np.isfinite(result).all() and np.abs(result).max() < 1e20 for result in reference):
                given = {backend: ask(worker, k, options, folder) for backend, worker in workers.items()}
                given[BACKEND] = solve_with_kernels(problem, options.dtype)
                plain = solve(problem, options.dtype, "never")
                nearby = functools.cache(functools.partial(error_nearby, problem, options.dtype, reference))
                for backend, (fused, served) in given.items():
                    tallies[backend].enter(f"problem {k}, {problem}", fused, served, plain, reference, nearby)
            else:
                for tally in tallies.values():
                    tally.counts["overflow"] += 1
            if (k + 1) % 500 == 0:
                found = sum(len(tally.findings) for tally in tallies.values())
                print(f"up to problem {k}: {found} findings", flush=True)
    for backend, tally in tallies.items():
        tally.report(backend)
    return 1 if any(tally.findings for tally in tallies.values()) else 0


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
    for backend in BACKENDS:
        parser.add_argument(
            f"--{backend}", metavar="PYTHON", help="whose kernels are to be compared beside those at hand"
        )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return serve()
    pythons = {name: getattr(options, name) for name in BACKENDS if getattr(options, name)}
    if BACKEND in pythons:
        parser.error(f"--{BACKEND} names the backend at hand, whose kernels are compared in any case.")
    workers = {name: Worker(name, python, __file__) for name, python in pythons.items()}
    try:
        return problems(options, workers)
    finally:
        for worker in workers.values():
            worker.end()


if __name__ == "__main__":
    sys.exit(main())
