"""Models for other runtimes: LiteRT (`.tflite`) and ONNX.

`onnx` is imported when it is used; it comes with the extra `keras_gates[onnx]`. A model of text is converted
from its tokens on, for neither runtime has TensorFlow's string operations.
"""

import contextlib
import functools
import tempfile

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import check_choice, check_size
from keras_gates._files import check_free, written_whole
from keras_gates.cells.gru import GRUCell
from keras_gates.cells.lstm import CoupledLSTMCell, LSTMCell, PeepholeLSTMCell
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.introspect.sweep import attributes, levels_of, recurrent_layers
from keras_gates.layers.attention import AttentionRNN
from keras_gates.serving.endpoints import (
    Stepper,
    as_functional,
    identifier,
    named_inputs,
    named_states,
    one_step,
    opened_in_time,
    plain_loops,
    run,
    step_function,
    tokenizer_of,
)
from keras_gates.serving.saved_model import check_exportable

ENDPOINTS = ("serve", "step")


def to_litert(model, path, endpoint="serve", time=None, batch_size=1):
    """Write a model as a LiteRT (TensorFlow Lite) file with nothing but built-in operations.

    Args:
        model: as `keras_gates.export` takes it.
        path: the file to write. It must not exist.
        endpoint: `"serve"`, whole sequences of a fixed length, whose loops are unrolled (LiteRT has no
            built-in for them); or `"step"`, one step and the states before it to outputs and new states,
            which needs no loop.
        time: the number of steps of a sequence, for `"serve"`.
        batch_size: the number of sequences, which is fixed too.

    The signature is `serving_default`, its inputs and outputs are named as in the SavedModel of
    `keras_gates.export`, but for a model of text, which takes `tokens`.

    Raises:
        FileExistsError, OSError, TypeError, ValueError: as `keras_gates.export`; `time` is missing.
    """
    import tensorflow as tf

    check_exportable(model)
    path = check_free(path)
    if check_choice("endpoint", endpoint, ENDPOINTS) == "step":
        function, inputs = _step(model)
    else:
        if time is None:
            raise ValueError("LiteRT takes whole sequences of a fixed length only: give `time`.")
        check_size("time", time)
        function, inputs = _unrolled(model)
    check_size("batch_size", batch_size)
    specs = [
        tf.TensorSpec(_fixed(like.shape, batch_size, time), like.dtype, name) for name, like in inputs.items()
    ]
    module = tf.Module()
    module.function = tf.function(function, autograph=False)
    concrete = module.function.get_concrete_function(*specs)
    module.kept = list(concrete.graph.variables)
    # only from a SavedModel does the converter keep the names of inputs and outputs
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=concrete)
        try:
            converted = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"LiteRT has no operation for a part of {model.name!r}: {reason}") from error
    with written_whole(path, "model") as partial:
        partial.write_bytes(converted)


def _fixed(shape, batch_size, time):
    free = [batch_size, time, *[None] * len(shape)]
    return [known if size is None else size for size, known in zip(shape, free, strict=False)]


def _from_tokens(model):
    model = as_functional(model)
    tokenizer = tokenizer_of(model)
    inner, _ = opened_in_time(model, tokenizer)
    return inner, dict(zip(["tokens"] if tokenizer else named_inputs(inner), inner.inputs, strict=True))


def _step(model):
    stepper = Stepper(model)
    return step_function(stepper), {**stepper.inputs, **stepper.carried}


def _unrolled(model):
    inner, inputs = _from_tokens(model)
    layers = recurrent_layers(inner)

    def serve(*tensors):
        with contextlib.ExitStack() as stack:
            stack.enter_context(plain_loops(layers.values()))
            for layer in layers.values():
                stack.enter_context(attributes(layer, unroll=True, use_cudnn=False))
            return run(inner, tensors)

    return serve, inputs


# -- ONNX


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

    from keras_gates.convert.onnx_graph import Translator, graph_of, model_of, value_info

    check_exportable(model)
    path = check_free(path)
    if check_choice("endpoint", endpoint, ENDPOINTS) == "step":
        function, inputs = _step(model)
        recurrent = None
    else:
        recurrent = _Recurrent(native)
        function, inputs = _with_places(model, recurrent)
    specs = [tf.TensorSpec(like.shape, like.dtype, name) for name, like in inputs.items()]
    concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    translator = Translator(recurrent=recurrent and recurrent.translate)
    flat = translator.translate(concrete, list(inputs))
    # the flat outputs come sorted by name, as tf.nest flattens a dict
    outputs = concrete.structured_outputs
    for name, inner in zip(sorted(outputs), flat, strict=True):
        name_out = f"{name}_after" if name in inputs else name
        translator.nodes.append(_identity(inner, name_out))
    told = [
        value_info(f"{name}_after" if name in inputs else name, outputs[name]) for name in sorted(outputs)
    ]
    given = [value_info(name, spec) for name, spec in zip(inputs, specs, strict=True)]
    content = model_of(graph_of(translator, "keras_gates", given, told)).SerializeToString()
    with written_whole(path, "model") as partial:
        partial.write_bytes(content)


def _identity(inner, outer):
    from onnx import helper

    return helper.make_node("Identity", [inner], [outer])


def _with_places(model, recurrent):
    inner, inputs = _from_tokens(model)
    layers = recurrent_layers(inner)
    for layer in layers.values():
        if isinstance(layer, AttentionRNN):
            raise ValueError(
                f"The layer {layer.name!r} looks at a memory in every step, which has no translation to ONNX "
                "here; to_litert takes it."
            )

    def serve(*tensors):
        with contextlib.ExitStack() as stack:
            stack.enter_context(plain_loops(layers.values()))
            for place, layer in layers.items():
                loop = functools.partial(recurrent.stand_in, place, layer)
                stack.enter_context(attributes(layer, inner_loop=loop, use_cudnn=False))
            return run(inner, tensors)

    return serve, inputs


class _Recurrent:
    """Leaves places for recurrent layers in a TensorFlow graph, and fills them in the ONNX graph."""

    def __init__(self, native):
        self.native = native
        self.places = {}

    def stand_in(self, place, layer, sequences, initial_state, mask, training=False):
        import tensorflow as tf

        states = keras.tree.flatten(initial_state)
        flags = [] if mask is None else [keras.tree.flatten(mask)[0]]
        name = f"recurrent_{len(self.places)}"
        size = keras.tree.flatten(layer.cell.output_size)[0]
        outputs, *after = tf.numpy_function(
            lambda *given: given,
            [sequences, *states, *flags],
            [layer.compute_dtype, *[x.dtype for x in states]],
            stateful=False,
            name=name,
        )
        outputs.set_shape([*sequences.shape[:2], size])
        for new, old in zip(after, states, strict=True):
            new.set_shape(old.shape)
        self.places[outputs.op.name] = (place, layer, initial_state, bool(flags), sequences)
        return outputs[:, -1], outputs, keras.tree.pack_sequence_as(initial_state, after)

    def translate(self, translator, operation, inputs):
        place, layer, initial_state, is_masked, sequences = self.places[operation.name]
        cells = levels_of(layer.cell)
        weights = _native_weights(cells[0]) if self.native and len(cells) == 1 and not is_masked else None
        if weights is not None:
            return _native(translator, weights, layer, inputs)
        return _scan(translator, place, layer, initial_state, is_masked, sequences, inputs)


def _scan(translator, place, layer, initial_state, is_masked, sequences, inputs):
    """A Scan over the graph of one step: from the layer's inputs to its outputs and last states."""
    import tensorflow as tf

    from keras_gates.convert.onnx_graph import Translator, graph_of, value_info

    names = list(named_states(place, layer, initial_state))
    carried = len(names) + is_masked

    def body(*tensors):
        before = dict(zip([*names, identifier(place, "output")][:carried], tensors, strict=False))
        states = keras.tree.pack_sequence_as(initial_state, list(tensors[: len(names)]))
        mask = tensors[carried + 1][:, None] if is_masked else None
        after = {}
        output, _, _ = one_step(place, layer, before, after, tensors[carried][:, None], states, mask)
        return [after[name] for name in before] + [output]

    states = keras.tree.flatten(initial_state)
    size = keras.tree.flatten(layer.cell.output_size)[0]
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in states]
    specs += [tf.TensorSpec((None, size), layer.compute_dtype)] * is_masked
    specs += [tf.TensorSpec((None, sequences.shape[-1]), sequences.dtype)]
    specs += [tf.TensorSpec((None,), "bool")] * is_masked
    concrete = tf.function(body, autograph=False).get_concrete_function(*specs)

    prefix = f"{identifier(place)}_step_"
    inner = Translator(prefix)
    given = [f"{prefix}in_{k}" for k in range(len(specs))]
    found = inner.translate(concrete, given)
    made = [f"{prefix}out_{k}" for k in range(len(found))]
    inner.nodes += [_identity(a, b) for a, b in zip(found, made, strict=True)]
    graph = graph_of(
        inner,
        f"{prefix}graph",
        [value_info(name, spec) for name, spec in zip(given, specs, strict=True)],
        [value_info(name, tensor) for name, tensor in zip(made, concrete.outputs, strict=True)],
    )
    x, start, flags = inputs[0], inputs[1 : 1 + len(names)], inputs[1 + len(names) :]
    if is_masked:
        start = [*start, _blank(translator, x, size, layer.compute_dtype)]
    *after, outputs = translator.node(
        "Scan",
        [*start, x, *flags],
        outputs=carried + 1,
        body=graph,
        num_scan_inputs=1 + len(flags),
        scan_input_axes=[1] * (1 + len(flags)),
        scan_input_directions=[int(layer.go_backwards)] * (1 + len(flags)),
        scan_output_axes=[1],
    )
    return [outputs, *after[: len(names)]]


def _blank(translator, x, size, dtype):
    """Zeros of shape (batch, size)."""
    zero, one = (translator.constant(np.array([k], "int64")) for k in (0, 1))
    batch = translator.node("Slice", [translator.node("Shape", [x]), zero, one])
    shape = translator.node("Concat", [batch, translator.constant(np.array([size], "int64"))], axis=0)
    return translator.node("Expand", [translator.constant(np.zeros((), dtype)), shape])


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


def _native(translator, native, layer, inputs):
    """ONNX's own operator: from the layer's inputs to its outputs and last states."""
    kind, weights, attributes_of_node = native
    constants = {name: translator.constant(np.ascontiguousarray(value)) for name, value in weights.items()}
    first, second = (translator.constant(np.array([k], "int64")) for k in (0, 1))
    x, *states = inputs
    start = [translator.node("Unsqueeze", [state, first]) for state in states]
    peepholes = [constants["P"]] if "P" in constants else []
    outputs, *after = translator.node(
        kind,
        [
            translator.node("Transpose", [x], perm=[1, 0, 2]),
            *(constants[k] for k in "WRB"),
            "",
            *start,
            *peepholes,
        ],
        outputs=1 + len(states),
        hidden_size=layer.cell.units,
        direction="reverse" if layer.go_backwards else "forward",
        **attributes_of_node,
    )
    outputs = translator.node("Transpose", [translator.node("Squeeze", [outputs, second])], perm=[1, 0, 2])
    if layer.go_backwards:  # ONNX keeps the order of the input, Keras gives that of the processing
        begin, end = (translator.constant(np.array([k], "int64")) for k in (-1, np.iinfo("int64").min))
        step = translator.constant(np.array([-1], "int64"))
        outputs = translator.node("Slice", [outputs, begin, end, second, step])
    return [outputs, *(translator.node("Squeeze", [state, first]) for state in after)]
