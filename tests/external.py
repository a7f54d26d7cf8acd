"""Implementations of recurrent cells that are not this package's: each answers a `Problem` in our notation.

Weights come under our names and in our gate order; what is peculiar to an implementation (order, transposed
matrices, two biases, the gate it couples) is translated here and nowhere else. Gradients are the
implementation's own, with respect to our weights, so that they too come back in our order. ONNX Runtime has
none.
"""

from functools import cache, partial

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from oracles import run
from problem import UNITS, Answer, named

try:
    import torch
except ImportError:
    torch = None


def reorder(matrix, ours, theirs):
    """Put the gate blocks of the last axis into another order; works on NumPy, TensorFlow and torch."""
    units = matrix.shape[-1] // len(ours)
    blocks = {gate: matrix[..., k * units : (k + 1) * units] for k, gate in enumerate(ours)}
    picked = [blocks[gate] for gate in theirs]
    if tf.is_tensor(matrix):
        return tf.concat(picked, -1)
    if torch is not None and isinstance(matrix, torch.Tensor):
        return torch.cat(picked, -1)
    return np.concatenate(picked, -1)


# ------------------------------------------------------------------------------------------------- Keras


def layer_answer(layer, problem, dtype="float32", beside=(), **options):
    """Answer of a Keras layer that returns sequences and states; its weights are set by name.

    ``beside`` names the arrays that are inputs of the layer beside x, ``options`` are of its call.
    """
    x = tf.constant(problem.arrays["x"], dtype)
    states = [tf.constant(problem.arrays[name], dtype) for name in problem.state_names]
    beside = {name: tf.constant(problem.arrays[name], dtype) for name in beside}
    mask = None if problem.mask is None else tf.constant(problem.mask)
    if not layer.built:
        layer.build(x.shape, **{f"{name}_shape": value.shape for name, value in beside.items()})
    weights = named(layer.trainable_weights)
    for name, weight in weights.items():
        weight.assign(problem.arrays[name])
    with tf.GradientTape() as tape:
        tape.watch([x, *states, *beside.values()])
        outputs, *final = layer(x, initial_state=states, mask=mask, **beside, **options)
        loss = tf.reduce_sum(outputs * problem.cotangents["outputs"])
        for name, state in zip(problem.state_names, final, strict=True):
            loss += tf.reduce_sum(state * problem.cotangents[name])
    weights = {name: weight.value for name, weight in weights.items()}
    sources = {"x": x, **dict(zip(problem.state_names, states, strict=True)), **beside, **weights}
    sources = {name: sources[name] for name in problem.varied}
    zero = tf.UnconnectedGradients.ZERO  # a state that the cell never reads
    gradients = tape.gradient(loss, sources, unconnected_gradients=zero)
    return Answer(
        outputs.numpy(),
        {name: state.numpy() for name, state in zip(problem.state_names, final, strict=True)},
        {name: gradient.numpy() for name, gradient in gradients.items()},
    )


def keras_layer(kind, problem, **options):
    """`keras.layers.SimpleRNN`, `LSTM` or `GRU`."""
    layer = getattr(keras.layers, kind)(
        UNITS, return_sequences=True, return_state=True, go_backwards=problem.go_backwards, **options
    )
    return layer_answer(layer, problem)


def keras_attention(arrays, mask):
    """What a query sees of a memory, and the alignment: `keras.layers.AdditiveAttention`, or `Attention`.

    They are given the products with our matrices, as they have none of their own; their scale is our v.
    """
    query, memory = arrays["query"][:, None], arrays["memory"]
    keys = memory @ arrays["memory_kernel"] if "memory_kernel" in arrays else memory
    if "score_kernel" in arrays:
        layer, query = keras.layers.AdditiveAttention(dtype=memory.dtype.name), query @ arrays["query_kernel"]
        layer.build([query.shape, memory.shape, keys.shape])
        given = [(layer.scale, arrays["score_kernel"])]
    else:
        layer, given = keras.layers.Attention(dtype=memory.dtype.name), []
    with keras.StatelessScope(given):
        seen, alignment = layer([query, memory, keys], mask=[None, mask], return_attention_scores=True)
    return seen[:, 0], alignment[:, 0]


# -------------------------------------------------------------------------- TensorFlow's block of an LSTM


@tf.custom_gradient
def block_lstm(x, c, h, w, wci, wcf, wco, b):
    """BlockLSTMV2 on x (time, batch, features): memories and outputs of all steps.

    Its gradient is the operation made for it. The one TensorFlow registers (BlockLSTMGrad) takes the gates to
    be in the order i c f o, while BlockLSTMV2 has i f c o, and is wrong (as of TensorFlow 2.21).
    """
    inputs = {
        "seq_len_max": tf.constant(x.shape[0], tf.int64),
        "x": x,
        "cs_prev": c,
        "h_prev": h,
        "w": w,
        "wci": wci,
        "wcf": wcf,
        "wco": wco,
        "b": b,
        "use_peephole": True,
    }
    out = tf.raw_ops.BlockLSTMV2(**inputs)

    def gradient(c_gradient, h_gradient):
        return tuple(
            tf.raw_ops.BlockLSTMGradV2(**inputs, **out._asdict(), cs_grad=c_gradient, h_grad=h_gradient)
        )

    return (out.cs, out.h), gradient


def tensorflow_block(problem):
    """`tf.raw_ops.BlockLSTMV2` with all three peepholes, in one call, or step by step under a mask."""
    arrays = {name: tf.constant(value, "float32") for name, value in problem.arrays.items()}
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        x, h, c = arrays["x"], arrays["h"], arrays["c"]
        w = tf.concat([arrays["kernel"], arrays["recurrent_kernel"]], 0)
        fixed = (w, *(arrays[f"peephole_{gate}"] for gate in "ifo"), arrays["bias"])
        x = x[:, ::-1] if problem.go_backwards else x
        if problem.mask is None:
            cs, hs = block_lstm(tf.transpose(x, (1, 0, 2)), c, h, *fixed)
            outputs, h, c = tf.transpose(hs, (1, 0, 2)), hs[-1], cs[-1]
        else:
            mask = problem.mask[:, ::-1] if problem.go_backwards else problem.mask
            output, outputs = tf.zeros_like(h), []
            for t in range(x.shape[1]):
                keep = mask[:, t, None]
                cs, hs = block_lstm(x[None, :, t], c, h, *fixed)
                h, c, output = (
                    tf.where(keep, hs[0], h),
                    tf.where(keep, cs[0], c),
                    tf.where(keep, hs[0], output),
                )
                outputs.append(output)
            outputs = tf.stack(outputs, 1)
        loss = tf.reduce_sum(outputs * problem.cotangents["outputs"])
        loss += tf.reduce_sum(h * problem.cotangents["h"]) + tf.reduce_sum(c * problem.cotangents["c"])
    gradients = tape.gradient(loss, arrays)
    return Answer(
        outputs.numpy(), {"h": h.numpy(), "c": c.numpy()}, {k: v.numpy() for k, v in gradients.items()}
    )


# ---------------------------------------------------------------------------------------- ONNX Runtime


@cache
def onnx_session(operator, inputs, outputs, **attributes):
    """A session of one operator whose weights are inputs like any other."""
    node = onnx.helper.make_node(operator, inputs, outputs, hidden_size=UNITS, **attributes)

    def described(names):
        return [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names if n]

    graph = onnx.helper.make_graph([node], operator, described(inputs), described(outputs))
    opset = onnx.helper.make_opsetid("", 14)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def onnx_answer(operator, problem, weights, **attributes):
    """The whole sequence in one run, or one run a step under a mask. ``weights`` in the operator's layout."""
    names = problem.state_names
    initial = [f"initial_{name}" for name in names]
    final = [f"Y_{name}" for name in names]
    inputs = ("X", "W", "R", "B", "", *initial) + (("P",) if "P" in weights else ())
    weights = {name: value[None].astype("float32") for name, value in weights.items()}

    def call(x, states, direction="forward"):
        session = onnx_session(operator, inputs, ("Y", *final), direction=direction, **attributes)
        feed = {"X": np.ascontiguousarray(x.transpose(1, 0, 2), "float32"), **weights}
        feed |= {name: state[None].astype("float32") for name, state in zip(initial, states, strict=True)}
        outputs, *final_states = session.run(None, feed)
        return outputs[:, 0].transpose(1, 0, 2), [state[0] for state in final_states]

    def step(x, states):
        output, new = call(x[:, None], states)
        return output[:, 0], new, {}

    states = [problem.arrays[name] for name in names]
    if problem.mask is None:
        direction = "reverse" if problem.go_backwards else "forward"
        outputs, ends = call(problem.arrays["x"], states, direction)
        outputs = outputs[:, ::-1] if problem.go_backwards else outputs
    else:
        record = run(step, problem.arrays["x"], states, problem.mask, problem.go_backwards)
        outputs, ends = record.outputs, record.final
    return Answer(outputs, dict(zip(names, ends, strict=True)))


def onnx_layout(weights, ours, theirs):
    """W, R (gates·units, …) and B (input and recurrent bias in one row) of an operator of ONNX."""
    W = reorder(weights["kernel"], ours, theirs).T
    R = reorder(weights["recurrent_kernel"], ours, theirs).T
    b = reorder(np.atleast_2d(weights["bias"]), ours, theirs)
    return {"W": W, "R": R, "B": np.concatenate([b[0], b[1] if len(b) == 2 else np.zeros_like(b[0])])}


def onnx_rnn(problem):
    """ONNX Runtime's `RNN`."""
    return onnx_answer("RNN", problem, onnx_layout(problem.weights, "n", "n"))


def onnx_lstm(problem):
    """ONNX Runtime's `LSTM`, gates i o f c; absent peepholes are zeros in `P`, whose order is i o f."""
    weights = problem.weights
    layout = onnx_layout(weights, "ifgo", "iofg")
    if any(name.startswith("peephole") for name in weights):
        absent = np.zeros(UNITS)
        layout["P"] = np.concatenate([weights.get(f"peephole_{gate}", absent) for gate in "iof"])
    return onnx_answer("LSTM", problem, layout)


def onnx_coupled(problem):
    """ONNX Runtime's `LSTM` with ``input_forget=1``: it learns i and takes f = 1 − i.

    Its i is our 1 − f = 1 − σ(z) = σ(−z): the block of f goes in negated as that of i. The block of f it has
    besides must play no part; it gets numbers that would show.
    """
    weights = problem.weights
    absent = np.zeros(UNITS)

    def with_input_gate(matrix):
        unused = 7 * np.ones_like(reorder(matrix, "fgo", "f"))
        return np.concatenate([-reorder(matrix, "fgo", "f"), unused, reorder(matrix, "fgo", "go")], -1)

    layout = onnx_layout(
        {name: with_input_gate(weights[name]) for name in ("kernel", "recurrent_kernel", "bias")},
        "ifgo",
        "iofg",
    )
    if any(name.startswith("peephole") for name in weights):
        p_f, p_o = (weights.get(f"peephole_{gate}", absent) for gate in "fo")
        layout["P"] = np.concatenate([-p_f, p_o, 7 * np.ones(UNITS)])
    return onnx_answer("LSTM", problem, layout, input_forget=1)


def onnx_gru(problem, reset_after):
    """ONNX Runtime's `GRU`, gates z r h, h' = (1 − z) ⊙ n + z ⊙ h; ``linear_before_reset`` is reset_after."""
    layout = onnx_layout(problem.weights, "urn", "urn")
    return onnx_answer("GRU", problem, layout, linear_before_reset=int(reset_after))


# ----------------------------------------------------------------------------------------------- PyTorch


def torch_answer(module, problem, parameters):
    """Answer of a module of torch; ``parameters(weights)`` lays our weights out as the module wants them."""
    arrays = {
        name: torch.tensor(value, dtype=torch.float32, requires_grad=True)
        for name, value in problem.arrays.items()
    }
    layout = parameters({name: arrays[name] for name in problem.weights})
    layout = {f"{name}_l0": value for name, value in layout.items()}
    alone = len(problem.state_names) == 1

    def call(x, states):
        given = [state[None] for state in states]
        outputs, ends = torch.func.functional_call(module, layout, (x, given[0] if alone else tuple(given)))
        return outputs, [state[0] for state in ((ends,) if alone else ends)]

    x, states = arrays["x"], [arrays[name] for name in problem.state_names]
    x = x.flip(1) if problem.go_backwards else x
    if problem.mask is None:
        outputs, states = call(x, states)
    else:
        mask = torch.tensor(problem.mask)
        mask = mask.flip(1) if problem.go_backwards else mask
        output, steps = torch.zeros_like(states[0]), []
        for t in range(x.shape[1]):
            keep = mask[:, t, None]
            now, new = call(x[:, t, None], states)
            states = [torch.where(keep, a, b) for a, b in zip(new, states, strict=True)]
            output = torch.where(keep, now[:, 0], output)
            steps.append(output)
        outputs = torch.stack(steps, 1)
    final = dict(zip(problem.state_names, states, strict=True))
    loss = (outputs * torch.tensor(problem.cotangents["outputs"], dtype=torch.float32)).sum()
    for name, state in final.items():
        loss = loss + (state * torch.tensor(problem.cotangents[name], dtype=torch.float32)).sum()
    loss.backward()
    return Answer(
        outputs.detach().numpy(),
        {name: state.detach().numpy() for name, state in final.items()},
        {name: value.grad.numpy() for name, value in arrays.items()},
    )


def torch_layer(kind, problem):
    """`torch.nn.RNN`, `LSTM` (gates i f g o) or `GRU` (gates r z n, reset_after); two biases."""
    ours, theirs = {"RNN": ("n", "n"), "LSTM": ("ifgo", "ifgo"), "GRU": ("urn", "run")}[kind]

    def parameters(weights):
        bias = weights["bias"] if kind == "GRU" else torch.stack([weights["bias"], 0 * weights["bias"]])
        bias = reorder(bias, ours, theirs)
        return {
            "weight_ih": reorder(weights["kernel"], ours, theirs).T,
            "weight_hh": reorder(weights["recurrent_kernel"], ours, theirs).T,
            "bias_ih": bias[0],
            "bias_hh": bias[1],
        }

    features = problem.arrays["x"].shape[-1]
    return torch_answer(getattr(torch.nn, kind)(features, UNITS, batch_first=True), problem, parameters)


IMPLEMENTATIONS = {
    "keras.layers.SimpleRNN": partial(keras_layer, "SimpleRNN"),
    "keras.layers.LSTM": partial(keras_layer, "LSTM"),
    "keras.layers.GRU": partial(keras_layer, "GRU"),
    "keras.layers.GRU(reset_after=False)": partial(keras_layer, "GRU", reset_after=False),
    "tf.raw_ops.BlockLSTMV2": tensorflow_block,
    "onnxruntime RNN": onnx_rnn,
    "onnxruntime LSTM": onnx_lstm,
    "onnxruntime LSTM(input_forget=1)": onnx_coupled,
    "onnxruntime GRU(linear_before_reset=1)": partial(onnx_gru, reset_after=True),
    "onnxruntime GRU(linear_before_reset=0)": partial(onnx_gru, reset_after=False),
    "torch.nn.RNN": partial(torch_layer, "RNN"),
    "torch.nn.LSTM": partial(torch_layer, "LSTM"),
    "torch.nn.GRU": partial(torch_layer, "GRU"),
}
