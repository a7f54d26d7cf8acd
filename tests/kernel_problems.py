"""Cells that have kernels, random problems for them on whatever backend Keras has, and when answers agree."""

import numpy as np

import keras_gates

TOLERANCE = 2e-5
CELLS = {
    "simple": keras_gates.SimpleRNNCell,
    "simple relu": lambda units, **a: keras_gates.SimpleRNNCell(units, activation="relu", **a),
    "indrnn": keras_gates.IndRNNCell,
    "indrnn tanh": lambda units, **a: keras_gates.IndRNNCell(units, activation="tanh", **a),
    "lstm": keras_gates.LSTMCell,
    "no bias": lambda units, **a: keras_gates.LSTMCell(units, use_bias=False, **a),
    "peephole": keras_gates.PeepholeLSTMCell,
    "peephole f": lambda units, **a: keras_gates.PeepholeLSTMCell(units, peepholes=("f",), **a),
    "peephole previous": lambda units, **a: keras_gates.PeepholeLSTMCell(
        units, output_peephole="previous", **a
    ),
    "peephole-only": keras_gates.PeepholeOnlyLSTMCell,
    "peephole-only linear": lambda units, **a: keras_gates.PeepholeOnlyLSTMCell(
        units, output_activation="linear", **a
    ),
    "peephole linear": lambda units, **a: keras_gates.PeepholeLSTMCell(units, activation="linear", **a),
    **{name: keras_gates.ODYSSEY[name] for name in ("NIG", "NFG", "NOG", "NIAF", "NOAF")},
    "NIG previous": lambda units, **a: keras_gates.ODYSSEY["NIG"](
        units, peepholes=("o",), output_peephole="previous", **a
    ),
    "NOG bare": lambda units, **a: keras_gates.ODYSSEY["NOG"](units, peepholes=(), **a),
    "coupled": keras_gates.CoupledLSTMCell,
    "coupled peephole": lambda units, **a: keras_gates.CoupledLSTMCell(units, peepholes=("f", "o"), **a),
    "gru": keras_gates.GRUCell,
    "gru write": lambda units, **a: keras_gates.GRUCell(units, update="write", **a),
    "gru linear": lambda units, **a: keras_gates.GRUCell(units, activation="linear", **a),
    "gru before": lambda units, **a: keras_gates.GRUCell(units, reset_after=False, **a),
    "gru before write": lambda units, **a: keras_gates.GRUCell(units, reset_after=False, update="write", **a),
    "minimal gated": keras_gates.MinimalGatedCell,
    "janet": keras_gates.JANETCell,
    "janet beta": lambda units, **a: keras_gates.JANETCell(units, beta=2, **a),
    "min-gru": keras_gates.MinGRUCell,
    "min-lstm": keras_gates.MinLSTMCell,
    "min-lstm tanh": lambda units, **a: keras_gates.MinLSTMCell(units, activation="tanh", **a),
    "slstm": keras_gates.SLSTMCell,
    "slstm exponential": lambda units, **a: keras_gates.SLSTMCell(units, forget="exponential", **a),
    "layer-norm-simple": keras_gates.LayerNormSimpleRNNCell,
    "layer-norm-gru": keras_gates.LayerNormGRUCell,
    "layer-norm-lstm": keras_gates.LayerNormLSTMCell,
    "layer-norm-lstm carry": lambda units, **a: keras_gates.LayerNormLSTMCell(
        units, carry="normalized", epsilon=0.1, **a
    ),
    "clockwork": lambda units, **a: keras_gates.ClockworkCell(units, periods=(1, 2, 3, 4)[:units], **a),
    "FGR": keras_gates.ODYSSEY["FGR"],
    "full peepholes": lambda units, **a: keras_gates.PeepholeLSTMCell(units, peephole="full", **a),
    "full peepholes previous": lambda units, **a: keras_gates.ODYSSEY["NIAF"](
        units, peephole="full", peepholes=("f", "o"), output_peephole="previous", **a
    ),
    "depth-gated": keras_gates.DepthGatedLSTMCell,
    "depth-gated linear": lambda units, **a: keras_gates.DepthGatedLSTMCell(
        units, depth=3, activation="linear", **a
    ),
}
MASKS = ("none", "right", "left", "holes", "rows")


def mask_of(kind, batch, time, rng):
    if kind == "none":
        return None
    lengths = rng.integers(0, time + 1, batch)
    mask = np.arange(time) < lengths[:, None]
    return {
        "right": mask,
        "left": mask[:, ::-1],
        "holes": rng.random((batch, time)) < 0.6,
        "rows": np.repeat(rng.random((batch, 1)) < 0.5, time, axis=1),
    }[kind]


def random_layer(make, problem, seed=0, arguments=None, **of_rnn):
    """A layer with random weights, and what to ask it: x, states, mask, cotangents."""
    batch, time, features, units, mask_kind, backwards = problem
    rng = np.random.default_rng([seed, batch, time, features, units])
    layer = keras_gates.RNN(
        make(units, **arguments or {}), return_state=True, go_backwards=backwards,
        **{"return_sequences": True, **of_rnn},
    )  # fmt: skip
    layer.build((batch, time, features))
    for variable in layer.weights:
        if "seed" not in variable.path:
            variable.assign(rng.normal(0, 1 / np.sqrt(max(variable.shape[0], 4)), variable.shape))
    x = rng.normal(size=(batch, time, features)).astype("float32")
    of_states = [(batch, size) for size in layer.cell.state_size]
    states = [rng.normal(0, 0.5, shape).astype("float32") for shape in of_states]
    if isinstance(layer.cell, keras_gates.SLSTMCell):  # its normaliser is positive
        states[2] = 1 + np.abs(states[2])
    if isinstance(layer.cell, keras_gates.ClockworkCell):
        states[1] = rng.integers(0, layer.cell.cycle, (batch, 1)).astype("float32")
    output = (batch, time, units) if layer.return_sequences else (batch, units)
    cotangents = [rng.normal(size=shape).astype("float32") for shape in (output, *of_states)]
    return layer, (x, states, mask_of(mask_kind, batch, time, rng), cotangents)


def assert_close(got, want):
    """Arrays by name: each is right to TOLERANCE of its largest value."""
    assert got.keys() == want.keys()
    for name, expected in want.items():
        scale = max(np.max(np.abs(expected), initial=0), 1e-3)
        error = np.max(np.abs(got[name] - expected), initial=0) / scale
        assert error < TOLERANCE, f"{name} is off by {error:.1e} of its largest value"
