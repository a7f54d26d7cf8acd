"""A first test of freshly built kernels: each against its cell's own equations in double precision."""

import types
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from keras_gates.kernels.build import BuildError
from keras_gates.kernels.cells import DEFAULTS, EXAMPLES, describe, weights_of

BATCH, TIME, FEATURES, UNITS = 5, 3, 19, 21
_TOLERANCE = 1e-4  # relative to the largest value; rounding gives less than 1e-5


def name_of(example):
    """The kernel of an example in words."""
    description = describe(example(UNITS, dtype="float32"))
    chosen = [f"{name}={value}" for name, value in description.items() if value != DEFAULTS.get(name, value)]
    return " ".join([description["cell"], *chosen])


def check(library, guard):
    """Test every kernel of a new library.

    Raises:
        BuildError: a kernel does not do what its cell's equations say.
    """
    for example, error in errors(library, guard).items():
        if not error < _TOLERANCE:  # so that NaN fails
            raise BuildError(f"their self-test failed: {name_of(example)} is off by {error:.1e}.")


def errors(library, guard):
    """The largest relative error of results and gradients, a dict by example.

    Computed in a thread of its own: scopes of TensorFlow and Keras (a function being traced, a stateless
    scope, a dtype policy) hold for the thread that entered them, and the first use may be inside any of them.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_errors, library, guard).result()


def _errors(library, guard):
    with tf.device("CPU:0"):
        return {example: _worst_error(library, guard, example) for example in EXAMPLES}


def _worst_error(library, guard, example):
    layer = keras.layers.RNN(
        example(UNITS, dtype="float64"),
        return_sequences=True,
        return_state=True,
        unroll=True,
        dtype="float64",
    )
    cell = example(UNITS, dtype="float32")
    layer.build((BATCH, TIME, FEATURES))
    cell.build((BATCH, FEATURES))
    rng = np.random.default_rng(0)
    for exact, single in zip(layer.cell.trainable_weights, cell.trainable_weights, strict=True):
        exact.assign(rng.normal(0, 0.5, exact.shape).astype("float32"))
        single.assign(tf.cast(exact.value, "float32"))
    x = rng.normal(size=(BATCH, TIME, FEATURES))
    states = [np.abs(rng.normal(size=(BATCH, UNITS))) for _ in cell.states]  # sLSTM divides by one of them
    mask = rng.random((BATCH, TIME)) < 0.8
    slopes = [rng.normal(size=(BATCH, TIME, UNITS)), *(rng.normal(size=state.shape) for state in states)]
    wanted = _expected(layer, *(tf.nest.map_structure(tf.constant, a) for a in (x, states, mask, slopes)))
    given = _given(library, guard, cell, x, states, mask, slopes)
    return float(np.max([_relative_error(given[name], want) for name, want in wanted.items()]))


def _relative_error(given, wanted):
    return np.max(np.abs(given.numpy() - wanted.numpy()), initial=0) / np.max(np.abs(wanted), initial=1e-6)


def _expected(layer, x, states, mask, slopes):
    """Results, and the gradients of their sum weighted by `slopes`, by Keras' loop over the cell's `step`."""
    cell = layer.cell
    weights = {name: getattr(cell, name, None) for name in ("kernel", "recurrent_kernel", "bias")}
    weights = {name: weight.value for name, weight in weights.items() if weight is not None}
    peepholes = {gate: weight.value for gate, weight in getattr(cell, "peephole_weights", {}).items()}
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        results = layer(x, initial_state=states, mask=mask, training=True)
        loss = tf.add_n([tf.reduce_sum(r * slope) for r, slope in zip(results, slopes, strict=True)])
    d_x, d_states, d_weights, d_peepholes = tape.gradient(
        loss, [x, states, weights, peepholes], unconnected_gradients="zero"
    )
    gradients = types.SimpleNamespace(
        **{"recurrent_kernel": None, **d_weights}, peephole_weights=d_peepholes, units=cell.units
    )
    description = describe(type(cell).from_config({**cell.get_config(), "dtype": "float32"}))
    outputs, h, *memories = results
    return _named(outputs, h, memories) | {
        f"d_{name}": gradient
        for name, gradient in {
            "x": d_x,
            **weights_of(gradients, description),
            "h": d_states[0],
            "c": _side_by_side(d_states[1:]),
        }.items()
    }


def _given(library, guard, cell, x, states, mask, slopes):
    """The same by the kernels, under the operations' names."""
    x, states, slopes = tf.nest.map_structure(lambda a: tf.constant(a, "float32"), (x, states, slopes))
    description = describe(cell)
    inputs = {
        **description, **weights_of(cell, description), "x": x, "mask": tf.constant(mask), "guard": guard,
        "h": states[0], "c": _side_by_side(states[1:]), "recurrent_mask": tf.zeros((0,)), "keep_tape": True,
        "return_sequences": True, "go_backwards": False, "zero_output_for_mask": False, "threads": 2,
    }  # fmt: skip
    result = library.keras_gates_forward(**inputs)
    gradients = library.keras_gates_backward(
        **inputs, outputs=result.outputs, gates=result.gates, memory=result.memory, d_outputs=slopes[0],
        d_last=tf.zeros_like(result.last), d_h_out=slopes[1], d_c_out=_side_by_side(slopes[2:]),
    )  # fmt: skip
    memories = tf.split(result.c_out, len(states) - 1, axis=1) if len(states) > 1 else []
    return _named(result.outputs, result.h_out, memories) | gradients._asdict()


def _named(outputs, h, memories):
    return {"outputs": outputs, "h_out": h, **{f"memory {k}": memory for k, memory in enumerate(memories)}}


def _side_by_side(memories):
    return tf.concat(memories, axis=1) if memories else tf.zeros((0,))
