"""A first test of freshly built kernels, against the equations in NumPy."""

import numpy as np
import tensorflow as tf

from keras_gates.kernels.build import BuildError
from keras_gates.kernels.cells import DEFAULTS

_GATES = {
    "simple": "n",
    "independent": "n",
    "lstm": "ifgo",
    "no_input_gate": "fgo",
    "no_forget_gate": "igo",
    "no_output_gate": "ifg",
    "coupled": "fgo",
    "gru": "urn",
    "minimal_gated": "fn",
    "janet": "fg",
    "min_gru": "un",
    "min_lstm": "ifg",
    "peephole_only": "ifgo",
}
_WITHOUT_MEMORY = ("simple", "independent", "gru", "minimal_gated", "janet", "min_gru", "min_lstm")
_RECURRENT_GATES = {
    "independent": 0,
    "min_gru": 0,
    "min_lstm": 0,
    "peephole_only": 3,
}  # of the others as many as gates
CASES = [
    {"cell": "simple"},
    {"cell": "simple", "activation": "relu"},
    {"cell": "independent", "peephole_gates": "n"},
    {"cell": "lstm"},
    {"cell": "lstm", "peephole_gates": "ifo"},
    {"cell": "lstm", "peephole_gates": "o", "output_previous": True},
    {"cell": "lstm", "activation": "linear"},
    {"cell": "lstm", "output_activation": "linear"},
    {"cell": "no_input_gate", "peephole_gates": "fo"},
    {"cell": "no_forget_gate", "peephole_gates": "io"},
    {"cell": "no_output_gate", "peephole_gates": "if"},
    {"cell": "coupled"},
    {"cell": "coupled", "peephole_gates": "fo"},
    {"cell": "gru", "reset_after": True},
    {"cell": "gru", "reset_after": False, "update_writes": True},
    {"cell": "minimal_gated"},
    {"cell": "janet", "beta": 1.5},
    {"cell": "min_gru", "activation": "linear"},
    {"cell": "min_lstm", "activation": "linear"},
    {"cell": "peephole_only"},
]
_SQUASH = {"tanh": np.tanh, "linear": lambda a: a, "relu": lambda a: np.maximum(a, 0)}
_TOLERANCE = 1e-3  # of a directional derivative by differences; a wrong term is off by far more
_WEIGHTS = ("x", "kernel", "recurrent_kernel", "bias", "peepholes", "h", "c")


def name_of(case):
    """A case in words."""
    return " ".join([case["cell"], *(f"{k}={v}" for k, v in case.items() if k != "cell")])


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _step(case, x, h, c, w):
    """One step of any of the cells, in float64: the new states."""
    units, kind = h.shape[1], case["cell"]
    phi, phi_c = _SQUASH[case["activation"]], _SQUASH[case["output_activation"]]

    def split(a):
        return [a[:, n : n + units] for n in range(0, a.shape[1], units)]

    if kind == "gru":
        bias = w["bias"] if case["reset_after"] else (w["bias"], 0)
        xu, xr, xn = split(x @ w["kernel"] + bias[0])
        hu, hr, hn = split(h @ w["recurrent_kernel"] + bias[1])
        u, r = _sigmoid(xu + hu), _sigmoid(xr + hr)
        reset_first = (r * h) @ w["recurrent_kernel"][:, 2 * units :]
        n = phi(xn + (r * hn if case["reset_after"] else reset_first))
        keep = 1 - u if case["update_writes"] else u
        return keep * h + (1 - keep) * n, c
    if kind == "minimal_gated":
        xf, xn = split(x @ w["kernel"] + w["bias"])
        uf, un = np.split(w["recurrent_kernel"], 2, axis=1)
        f = _sigmoid(xf + h @ uf)
        return (1 - f) * h + f * phi(xn + (f * h) @ un), c
    if kind == "peephole_only":
        i, f, g, o = split(x @ w["kernel"] + w["bias"])
        i_c, f_c, o_c = split(c @ w["recurrent_kernel"])
        new = _sigmoid(f + f_c) * c + _sigmoid(i + i_c) * phi(g)
        return phi_c(_sigmoid(o + o_c) * new), new
    heard = h @ w["recurrent_kernel"] if w["recurrent_kernel"].size else 0
    z = dict(zip(_GATES[kind], split(x @ w["kernel"] + heard + w["bias"]), strict=True))
    if kind == "simple":
        return phi(z["n"]), c
    if kind == "independent":
        return phi(z["n"] + w["peepholes"][0] * h), c
    if kind == "min_gru":
        u = _sigmoid(z["u"])
        return (1 - u) * h + u * phi(z["n"]), c
    if kind == "min_lstm":
        i, f = _sigmoid(z["i"]), _sigmoid(z["f"])
        return (f * h + i * phi(z["g"])) / (f + i), c
    if kind == "janet":
        return _sigmoid(z["f"]) * h + (1 - _sigmoid(z["f"] - case["beta"])) * phi(z["g"]), c

    def gate(name, memory):
        if name not in z:
            return 1
        row = case["peephole_gates"].find(name)
        return _sigmoid(z[name] + (0 if row < 0 else w["peepholes"][row] * memory))

    f = gate("f", c)
    i = 1 - f if kind == "coupled" else gate("i", c)
    new = f * c + i * phi(z["g"])
    return gate("o", c if case["output_previous"] else new) * phi_c(new), new


def _expected(case, w, mask):
    """Outputs `(batch, time, units)` and final states by the equations; a masked step repeats its output."""
    h, c, output, outputs = w["h"], w["c"], np.zeros_like(w["h"]), []
    for t in range(w["x"].shape[1]):
        new_h, new_c = _step(case, w["x"][:, t], h, c, w)
        moves = mask[:, t, None]
        h, c, output = np.where(moves, new_h, h), np.where(moves, new_c, c), np.where(moves, new_h, output)
        outputs.append(output)
    return np.stack(outputs, 1), h, c


def _problem(case, rng, batch=5, time=4, features=19, units=21):
    gates = len(_GATES[case["cell"]])
    recurrent_gates = _RECURRENT_GATES.get(case["cell"], gates)
    shapes = {
        "x": (batch, time, features),
        "kernel": (features, gates * units),
        "recurrent_kernel": (units, recurrent_gates * units),
        "bias": (2, gates * units) if case["reset_after"] else (gates * units,),
        "peepholes": (len(case["peephole_gates"]), units),
        "h": (batch, units),
        "c": (batch, units),
    }
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def worst_error(library, guard, case, seed=0):
    """The largest relative error of values and of the gradient along a random direction."""
    case = {**DEFAULTS, **case}
    rng = np.random.default_rng(seed)
    w = _problem(case, rng)
    mask = rng.random(w["x"].shape[:2]) < 0.8
    tensors = {name: tf.constant(value, "float32") for name, value in w.items()}
    if case["cell"] in _WITHOUT_MEMORY:
        tensors["c"] = tf.zeros((0,))
    inputs = {
        **tensors, "mask": tf.constant(mask), "recurrent_mask": tf.zeros((0,)), "guard": guard,
        "keep_tape": True, "return_sequences": True, "go_backwards": False, "zero_output_for_mask": False,
        "threads": 2, **case,
    }  # fmt: skip
    result = library.keras_gates_forward(**inputs)
    values = [result.outputs, result.h_out, *([result.c_out] if len(tensors["c"]) else [])]
    weights = [rng.normal(size=value.shape) for value in values]
    # Not by a tape: none records in the scope where the kernels are loaded.
    d_outputs, d_h, d_c = [*(tf.constant(weight, "float32") for weight in weights), tf.zeros((0,))][:3]
    backward = library.keras_gates_backward(
        **inputs, outputs=result.outputs, gates=result.gates, memory=result.memory,
        d_outputs=d_outputs, d_last=tf.zeros_like(d_h), d_h_out=d_h, d_c_out=d_c,
    )  # fmt: skip

    def loss(step):
        moved = {name: value + step * along[name] for name, value in w.items()}
        return sum(np.sum(a * b) for a, b in zip(_expected(case, moved, mask), weights, strict=False))

    errors = [
        np.max(np.abs(got.numpy() - want)) / (1e-9 + np.max(np.abs(want)))
        for got, want in zip(values, _expected(case, w, mask), strict=False)
    ]
    for name in _WEIGHTS:
        if not tf.size(tensors[name]):
            continue
        along = {other: rng.normal(size=value.shape) * (other == name) for other, value in w.items()}
        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        gradient = getattr(backward, f"d_{name}").numpy()
        errors.append(abs(np.sum(gradient * along[name]) - slope) / (1 + abs(slope)))
    return float(np.max(errors))  # NaN if any is


def check(library, guard):
    """Raises a `BuildError` unless every cell's kernel does what its equations say."""
    for case in CASES:
        error = worst_error(library, guard, case)
        if not error < _TOLERANCE:
            raise BuildError(f"their self-test failed: {name_of(case)} is off by {error:.1e}.")
