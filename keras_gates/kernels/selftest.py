"""A first test of freshly built kernels: each against its cell's own equations in double precision."""

import functools
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_gates.cells.gru import GRUCell
from keras_gates.cells.lstm import PeepholeLSTMCell
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.kernels import operation, plain, signature
from keras_gates.kernels.build import BuildError
from keras_gates.kernels.cells import DEFAULTS, EXAMPLES, describe, memories_of, reads_below
from keras_gates.kernels.weights import weights_of

BATCH, TIME, FEATURES, UNITS = 5, 3, 19, 21
# For a door; the core behind it has been tested. No memory, one with weight vectors, two rows of biases.
FEW = SimpleRNNCell, PeepholeLSTMCell, GRUCell
SHARES = np.array([0, 0.25, 1], "float32")  # that zoneout keeps of a state
# Relative to the largest value. Rounding gives less than 1e-5, and in bfloat16 about 5e-2.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
_RESULTS = ("outputs", "last", "h_out", "c_out")


def name_of(example):
    """The kernel of an example in words."""
    description = describe(example(UNITS, dtype="float32"))
    chosen = [f"{name}={value}" for name, value in description.items() if value != DEFAULTS.get(name, value)]
    return " ".join([description["cell"], *chosen])


def check(run, examples=EXAMPLES, products="float32"):
    """Test the kernels of a new library, all of them or those of some examples.

    Args:
        run: `run(way, attributes, inputs)` runs the pass `"forward"` or `"backward"` over NumPy arrays by
            name, and returns arrays by name.
        products: the dtype of the products, `"float32"` or `"bfloat16"`.

    Raises:
        BuildError: a kernel does not do what its cell's equations say.
    """
    for example, error in errors(run, examples, products).items():
        if not error < _TOLERANCE[products]:  # so that NaN fails
            raise BuildError(f"the self-test failed: {name_of(example)} is off by {error:.1e}.")


def errors(run, examples=EXAMPLES, products="float32"):
    """The largest relative error of results and gradients, a dict by example.

    Computed in a thread of its own: scopes of the frameworks and of Keras (a function being traced, a
    stateless scope, a dtype policy) hold for the thread that entered them, and the first use may be inside
    any of them.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(
            lambda: {example: _worst_error(run, example, products) for example in examples}
        ).result()


def _worst_error(run, example, products):
    attributes, inputs, d_results, wanted = _problem(example)
    attributes = {**attributes, "bfloat16_products": products == "bfloat16"}
    given = run("forward", attributes, inputs)
    from_forward = {name: given[name] for name in signature.FROM_FORWARD}
    given = {**given, **run("backward", attributes, {**inputs, **from_forward, **d_results})}
    # Blocks of a kernel that a cell does not have are zero, and their gradients mean nothing.
    given["d_recurrent_kernel"] = given["d_recurrent_kernel"] * (inputs["recurrent_kernel"] != 0)
    return float(np.max([_relative_error(given[name], want) for name, want in wanted.items()]))


def _relative_error(given, wanted):
    """The largest error of the units, or of the part of an array that belongs to one state, gate or step."""
    parts = max(1, wanted.shape[-1] // UNITS if wanted.ndim else 1)
    errors = [
        np.max(np.abs(one - want), initial=0) / np.max(np.abs(want), initial=1e-6)
        for one, want in zip(*(np.array_split(a, parts, axis=-1) for a in (given, wanted)), strict=True)
    ]
    return np.max(errors)


@functools.cache
def _problem(example):
    """A random problem for a cell (attributes, inputs, gradients of the results) and its answers."""
    cell = example(UNITS, dtype="float32")
    cell.build((BATCH, FEATURES))
    has_options = isinstance(example, functools.partial)
    memories = memories_of(cell)
    description = {**describe(cell), "shows_memory": has_options and memories > 0}
    plain.remember(cell, description)
    attributes = {
        **description, "keep_tape": True, "return_sequences": True, "go_backwards": False,
        "zero_output_for_mask": False, "bfloat16_products": False, "threads": 2,
        **operation.door().ATTRIBUTES,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for weight in cell.trainable_variables:
        weight.assign(rng.normal(0, 0.5, weight.shape))

    def random(*shape, scale=1.0):
        return rng.normal(0, scale, shape).astype("float32")

    state, c = (BATCH, UNITS), (BATCH, memories * UNITS)
    inputs = {
        "x": random(BATCH, TIME, FEATURES + (UNITS if reads_below(cell) else 0)),
        "mask": rng.random((BATCH, TIME)) < 0.8,
        **{
            name: keras.ops.convert_to_numpy(weight) for name, weight in weights_of(cell, description).items()
        },
        "h": np.abs(random(*state)),
        "c": np.abs(random(*c)) if memories else random(0),  # sLSTM divides by one of its memories
        "recurrent_mask": random(0),
        "keep": rng.choice(SHARES, (BATCH, TIME, UNITS + c[1])) if has_options else random(0),
    }
    shapes = (BATCH, TIME, UNITS * (1 + description["shows_memory"])), state, state, c
    d_results = {name: random(*shape) for name, shape in zip(signature.D_OUTPUTS, shapes, strict=True)}
    return attributes, inputs, d_results, _answers(attributes, inputs, d_results)


def _answers(attributes, inputs, d_results):
    """By the cell's `step` in float64: results, and gradients of their sum weighted by `d_results`."""
    door = operation.door()

    def run(*primals):
        given = {**fixed, **dict(zip(signature.DIFFERENTIATED, primals, strict=True))}
        return plain.forward(attributes, **given)

    with door.reference_scope():
        exact = {
            name: keras.ops.convert_to_tensor(a if a.dtype == bool else a.astype("float64"))
            for name, a in {**inputs, **d_results}.items()
        }
        fixed = {name: exact[name] for name in ("mask", "recurrent_mask", "keep")}
        results, gradients = door.vjp(
            run, [exact[name] for name in signature.DIFFERENTIATED], [exact[name] for name in d_results]
        )
        names = *_RESULTS, *(f"d_{name}" for name in signature.DIFFERENTIATED)
        values = map(keras.ops.convert_to_numpy, [*results, *gradients])
        return dict(zip(names, values, strict=True))
