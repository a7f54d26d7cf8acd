"""Models as ONNX files: what the recurrent layers of a model become, and the file.

`onnx` is imported when it is used; it comes with the extra `keras_gates[onnx]`.
"""

import contextlib
import functools

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import check_choice
from keras_gates._files import check_free, written_whole
from keras_gates.cells.gru import GRUCell
from keras_gates.cells.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.introspect.recording import reporting_cells
from keras_gates.layers.attention import AttentionRNN
from keras_gates.layers.stepping import Step, attributes, identifier, named_states, plain_loops
from keras_gates.opened import Opened
from keras_gates.opened.whole import run
from keras_gates.serving.endpoints import Endpoint
from keras_gates.serving.endpoints.step import step
from keras_gates.serving.saved_model import check_exportable


def to_onnx(model, path, endpoint="serve", native=True):
    """Write a model as an ONNX file, open in batch and time.

    A recurrent layer becomes ONNX's own `LSTM`, `GRU` or `RNN` operator where that computes the same
    (standard, peephole, coupled and simple cells and GRUs with tanh and sigmoid, without a mask), and
    elsewhere a `Scan` over the graph of its cell's step.

    Args:
        model: as `keras_gates.export` takes it.
        path: the file to write. It must not exist.
        endpoint: `"serve"`, whole sequences, or `"step"`, one step and the states before it.
        native: whether to use ONNX's own recurrent operators.

    Inputs and outputs are named as in the SavedModel of `keras_gates.export`, but for a model of text, which
    takes `tokens`.

    Raises:
        FileExistsError, OSError, TypeError, ValueError: as `keras_gates.export`; or the model has an
            operation for which there is no translation, which the sentence names.
        ImportError: `onnx` is not installed.
    """
    import tensorflow as tf

    from keras_gates.convert.onnx_graph import model_of

    check_exportable(model)
    path = check_free(path)
    opened = Opened(model)
    calls = {}
    if check_choice("endpoint", endpoint, ("serve", "step")) == "step":
        function, inputs = step(opened)
    else:
        function, inputs = _with_calls_marked(opened, calls)
    specs = [tf.TensorSpec(like.shape, like.dtype, name) for name, like in inputs.items()]
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    recurrent = {operation: _described(*call, native) for operation, call in calls.items()}
    content = model_of(concrete, list(inputs), recurrent).SerializeToString()
    with written_whole(path, "model") as partial:
        partial.write_bytes(content)


# -- recurrent layers


def _with_calls_marked(opened, calls):
    """Whole sequences to outputs, from the tokens on, with an operation in place of every recurrent loop.

    Args:
        opened: an `Opened`.
        calls: a dict that fills, when the function is traced, with the calls of the loops: by the name of
            the operation, the place, the layer, its inputs, initial state and mask.
    """
    opened.check_recurrent()
    for layer in opened.recurrent.values():
        if isinstance(layer, AttentionRNN):
            raise ValueError(
                f"The layer {layer.name!r} looks at a memory in every step, which has no translation to ONNX "
                "here; to_litert takes it."
            )

    def serve(*tensors):
        with contextlib.ExitStack() as stack:
            stack.enter_context(plain_loops(opened.recurrent.values()))
            for place, layer in opened.recurrent.items():
                mark = functools.partial(_mark, calls, place, layer)
                stack.enter_context(attributes(layer, inner_loop=mark, use_cudnn=False))
            return run(opened.whole.model, tensors)

    return Endpoint(serve, opened.whole.inputs)


def _mark(calls, place, layer, sequences, initial_state, mask, training=False):
    """In place of a layer's loop: one operation, never run, of all that a loop or an operator of ONNX needs.

    It takes the sequences, a mask, the states before the first step, and an output of zeros, to be repeated
    where the mask hides the first steps; it gives the outputs and the states after the last step.
    """
    import tensorflow as tf

    states = keras.tree.flatten(initial_state)
    flags = ops.ones_like(sequences[..., 0], "bool") if mask is None else keras.tree.flatten(mask)[0]
    size = keras.tree.flatten(layer.cell.output_size)[0]
    blank = ops.zeros((ops.shape(sequences)[0], size), layer.compute_dtype)
    outputs, *after = tf.numpy_function(
        lambda *given: given,
        [sequences, flags, *states, blank],
        [layer.compute_dtype, *[x.dtype for x in states]],
        stateful=False,
        name=f"recurrent_{len(calls)}",
    )
    outputs.set_shape([*sequences.shape[:2], size])
    for new, old in zip(after, states, strict=True):
        new.set_shape(old.shape)
    calls[outputs.op.name] = (place, layer, sequences, initial_state, mask)
    return outputs[:, -1], outputs, keras.tree.pack_sequence_as(initial_state, after)


def _described(place, layer, sequences, initial_state, mask, native):
    """What the graph's translation needs to know of a call: an operator of ONNX, or the graph of one step."""
    from keras_gates.convert.onnx_graph import Loop, Operator

    cells = reporting_cells(layer)
    weights = _native_weights(cells[0]) if native and len(cells) == 1 and mask is None else None
    if weights is None:
        return Loop(
            identifier(place), _one_step(place, layer, sequences, initial_state), bool(layer.go_backwards)
        )
    return Operator(*weights, layer.cell.units, bool(layer.go_backwards))


def _one_step(place, layer, sequences, initial_state):
    """A concrete function of states, last output, input and mask of a step: to states, output, and output."""
    import tensorflow as tf

    states = named_states(place, layer, initial_state)
    names = [*states, identifier(place, "output")]

    def function(*tensors):
        *before, x, counts = tensors
        made = Step(dict(zip(names, before, strict=True)))
        start = keras.tree.pack_sequence_as(initial_state, before[:-1])
        output, _, _ = made.recur(place, layer, x[:, None], start, counts[:, None])
        return [*(made.after[name] for name in names), output]

    size = keras.tree.flatten(layer.cell.output_size)[0]
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in states.values()]
    specs += [
        tf.TensorSpec((None, size), layer.compute_dtype),
        tf.TensorSpec((None, *sequences.shape[2:]), sequences.dtype),
        tf.TensorSpec((None,), "bool"),
    ]
    return tf.function(function, autograph=False).get_concrete_function(*specs)


# -- operators of ONNX


def _native_weights(cell):
    """ONNX's operator that computes what the cell does, its weights and attributes; None if none does."""
    usual = cell.compute_dtype == "float32" and getattr(cell, "activation", None) is keras.activations.tanh
    if type(cell) is SimpleRNNCell and usual:
        return "RNN", _stacked(cell, {"n": "n"}), {}
    if not usual or getattr(cell, "recurrent_activation", None) is not keras.activations.sigmoid:
        return None
    if type(cell) is GRUCell:
        # z is what is kept; a gate that says what is written is 1 − σ(a) = σ(−a)
        order = {"u": "u" if cell.update == "keep" else "-u", "r": "r", "n": "n"}
        return "GRU", _stacked(cell, order), {"linear_before_reset": int(cell.reset_after)}
    if type(cell) is LSTMCell:
        return "LSTM", _stacked(cell, {"i": "i", "o": "o", "f": "f", "g": "g"}), {}
    if type(cell) in (PeepholeLSTMCell, CoupledLSTMCell) and (
        not cell.peepholes or (cell.peephole, cell.output_peephole) == ("diagonal", "current")
    ):
        coupled = type(cell) is CoupledLSTMCell
        # ONNX couples the other way around, f = 1 − i, so it is given i = σ(−a_f)
        order = {"i": "-f" if coupled else "i", "o": "o", "f": "f", "g": "g"}
        weights = _stacked(cell, order)
        weights["P"] = np.concatenate([_signed(_peephole, cell, order[gate]) for gate in "iof"])[None]
        return "LSTM", weights, {"input_forget": int(coupled)}
    return None


def _stacked(cell, order):
    """W, R and B as ONNX holds them: the gates in its order, `-f` being the negative of f."""
    kernel = [_signed(_columns(cell.kernel), cell, gate).T for gate in order.values()]
    recurrent = [_signed(_columns(cell.recurrent_kernel), cell, gate).T for gate in order.values()]
    bias = np.zeros((2, len(cell.gates) * cell.units), "float32")
    if cell.use_bias:
        given = ops.convert_to_numpy(cell.bias)
        bias[: given.ndim] = given
    biases = [_signed(_columns(row[None]), cell, gate)[0] for row in bias for gate in order.values()]
    return {
        "W": np.concatenate(kernel)[None],
        "R": np.concatenate(recurrent)[None],
        "B": np.concatenate(biases)[None],
    }


def _signed(part, cell, gate):
    return -part(cell, gate[1:]) if gate.startswith("-") else part(cell, gate)


def _columns(matrix):
    matrix = ops.convert_to_numpy(matrix)

    def of_gate(cell, gate):
        first = cell.gates.index(gate) * cell.units
        return matrix[:, first : first + cell.units]

    return of_gate


def _peephole(cell, gate):
    if gate not in cell.peepholes:
        return np.zeros(cell.units, "float32")
    return ops.convert_to_numpy(cell.peephole_weights[gate])
