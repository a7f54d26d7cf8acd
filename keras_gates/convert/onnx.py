"""Models as ONNX files: what the recurrent layers of a model become, and the file.

`onnx` is imported when it is used; it comes with the extra `keras_gates[onnx]`.
"""

import contextlib
import functools
from dataclasses import dataclass

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
    """Write a model as an ONNX file, with free batch and time axes.

    A recurrent layer becomes ONNX's own `LSTM`, `GRU` or `RNN` operator where that computes the same
    (standard, peephole, coupled and simple cells and GRUs with tanh and sigmoid, without a mask), and
    elsewhere a `Scan` over the graph of its cell's step.

    Args:
        model: as `keras_gates.export` takes it.
        path: the file to write. It must not exist.
        endpoint: `"serve"`, whole sequences, or `"step"`, one step and the states before it.
        native: whether to use ONNX's own recurrent operators.

    Inputs and outputs are named as in the SavedModel of `keras_gates.export`, except that a text model takes
    `tokens`.

    Raises:
        FileExistsError, OSError, TypeError, ValueError: as `keras_gates.export`; or the model has an
            operation for which there is no translation, which the message names.
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
    recurrent = {operation: _described(call, native) for operation, call in calls.items()}
    content = model_of(concrete, list(inputs), recurrent).SerializeToString()
    with written_whole(path, "model") as partial:
        partial.write_bytes(content)


# -- recurrent layers


def _with_calls_marked(opened, calls):
    """From whole sequences the outputs, with one operation in place of every recurrent loop.

    Args:
        opened: an `Opened`.
        calls: a dict that is filled, when the function is traced, with a `MarkedCall` by the name of the
            operation.
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


@dataclass(frozen=True)
class MarkedCall:
    """A call of a recurrent layer's loop.

    Attributes:
        place, layer: the layer and its place.
        initial_state: the states before the first step, nested as Keras holds them.
        carried: the tensors passed from step to step: the states, and under a mask the output, first zeros.
        scanned: the tensors with a time axis: the sequences, and the mask if there is one.
    """

    place: str
    layer: keras.layers.RNN
    initial_state: list
    carried: list
    scanned: list


def _mark(calls, place, layer, sequences, initial_state, mask, training=False):
    """Replaces a layer's loop by one operation, never run, that takes all carried and scanned tensors.

    It returns the outputs and the states after the last step.
    """
    import tensorflow as tf

    states = keras.tree.flatten(initial_state)
    size = keras.tree.flatten(layer.cell.output_size)[0]
    carried, scanned = list(states), [sequences]
    if mask is not None:
        carried.append(ops.zeros((ops.shape(sequences)[0], size), layer.compute_dtype))
        scanned.append(keras.tree.flatten(mask)[0])
    outputs, *after = tf.numpy_function(
        lambda *given: given,
        [*carried, *scanned],
        [layer.compute_dtype, *[x.dtype for x in states]],
        stateful=False,
        name=f"recurrent_{len(calls)}",
    )
    outputs.set_shape([*sequences.shape[:2], size])
    for new, old in zip(after, states, strict=True):
        new.set_shape(old.shape)
    calls[outputs.op.name] = MarkedCall(place, layer, initial_state, carried, scanned)
    return outputs[:, -1], outputs, keras.tree.pack_sequence_as(initial_state, after)


def _described(call, native):
    """What the graph's translation needs to know of a call: an operator of ONNX, or the graph of one step."""
    from keras_gates.convert.onnx_graph import Loop, Operator

    cells, reverse = reporting_cells(call.layer), bool(call.layer.go_backwards)
    is_plain = len(cells) == len(call.scanned) == 1  # one cell, and no mask
    weights = _native_weights(cells[0]) if native and is_plain else None
    if weights is not None:
        return Operator(*weights, cells[0].units, reverse)
    return Loop(identifier(call.place), _one_step(call), len(call.carried), reverse)


def _one_step(call):
    """A concrete function from the carried and scanned tensors of a step to the carried ones and output."""
    import tensorflow as tf

    states = named_states(call.place, call.layer, call.initial_state)
    names = [*states, identifier(call.place, "output")][: len(call.carried)]

    def function(*tensors):
        before, (x, *mask) = tensors[: len(names)], tensors[len(names) :]
        made = Step(dict(zip(names, before, strict=True)))
        start = keras.tree.pack_sequence_as(call.initial_state, before[: len(states)])
        counts = mask[0][:, None] if mask else None
        output, _, _ = made.recur(call.place, call.layer, x[:, None], start, counts)
        return [*(made.after[name] for name in names), output]

    specs = [tf.TensorSpec(x.shape, x.dtype) for x in call.carried]
    specs += [tf.TensorSpec((x.shape[0], *x.shape[2:]), x.dtype) for x in call.scanned]
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
        # z is the fraction that is kept; for a gate that says what is written it is 1 − σ(a) = σ(−a)
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
