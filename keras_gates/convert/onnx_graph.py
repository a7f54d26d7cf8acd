"""Translation of TensorFlow graphs to ONNX, for the operations that models of gated cells use.

Needs the package `onnx`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

# Both from 2022, so that older runtimes can read the files.
OPSET = 17
IR_VERSION = 8

SAME = {
    "Abs": "Abs",
    "Add": "Add",
    "AddV2": "Add",
    "BiasAdd": "Add",
    "Ceil": "Ceil",
    "Elu": "Elu",
    "Equal": "Equal",
    "Erf": "Erf",
    "Exp": "Exp",
    "Floor": "Floor",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "Identity": "Identity",
    "Less": "Less",
    "LessEqual": "LessOrEqual",
    "Log": "Log",
    "LogicalAnd": "And",
    "LogicalNot": "Not",
    "LogicalOr": "Or",
    "Maximum": "Max",
    "Minimum": "Min",
    "Mul": "Mul",
    "Neg": "Neg",
    "Pow": "Pow",
    "RealDiv": "Div",
    "Relu": "Relu",
    "Select": "Where",
    "SelectV2": "Where",
    "Selu": "Selu",
    "Sigmoid": "Sigmoid",
    "Sign": "Sign",
    "Softmax": "Softmax",
    "Softplus": "Softplus",
    "Softsign": "Softsign",
    "Sqrt": "Sqrt",
    "StopGradient": "Identity",
    "Sub": "Sub",
    "Tanh": "Tanh",
}
REDUCED = {"Max": "ReduceMax", "Mean": "ReduceMean", "Min": "ReduceMin", "Prod": "ReduceProd"}


class UnknownOperationError(ValueError):
    """A model with an operation for which there is no translation."""


@dataclass(frozen=True)
class Operator:
    """One of ONNX's own recurrent operators.

    Attributes:
        kind: `"LSTM"`, `"GRU"` or `"RNN"`.
        weights: W, R, B and perhaps P, as ONNX holds them.
        attributes: the operator's attributes, except those that follow from these two:
        units, reverse: the number of units, and whether the last step comes first.
    """

    kind: str
    weights: dict
    attributes: dict
    units: int
    reverse: bool


@dataclass(frozen=True)
class Loop:
    """A loop over the steps of a sequence.

    Attributes:
        name: the prefix of the names inside the loop.
        step: a concrete function from the carried tensors, and one step of the scanned ones, to the new
            carried tensors, the states first, and the output.
        carried: the number of tensors that are passed from step to step.
        reverse: whether the last step comes first.
    """

    name: str
    step: object
    carried: int
    reverse: bool


def model_of(function, input_names, recurrent):
    """The checked ONNX model of a concrete function that returns a dict of tensors.

    Args:
        function: the concrete function.
        input_names: the names of its inputs in ONNX. An output of the same name, a state that the function
            takes and gives, is called `NAME_after`.
        recurrent: what replaces an operation, by its name: an `Operator` or a `Loop`.

    Raises:
        UnknownOperationError: the function has an operation without a translation.
    """
    translator = Translator(recurrent=recurrent)
    # The flat outputs come sorted by name, as tf.nest flattens a dict.
    flat = translator.translate(function, input_names)
    outputs = {
        f"{name}_after" if name in input_names else name: tensor
        for name, tensor in sorted(function.structured_outputs.items())
    }
    translator.rename(flat, outputs)
    given = [value_info(*pair) for pair in zip(input_names, function.inputs, strict=False)]
    graph = graph_of(translator, "keras_gates", given, [value_info(*pair) for pair in outputs.items()])
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="keras_gates", ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def graph_of(translator, name, inputs, outputs):
    """The translated nodes as an ONNX graph, with only the constants that it uses."""
    used = {name for node in translator.nodes for name in node.input}
    constants = [constant for constant in translator.initializers if constant.name in used]
    return helper.make_graph(translator.nodes, name, inputs, outputs, constants)


def onnx_type(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype.as_numpy_dtype))


def value_info(name, tensor):
    """The declaration of an input or output; free dimensions have a name of their own instead of a size."""
    sizes = [size if size is not None else f"{name}_{axis}" for axis, size in enumerate(tensor.shape)]
    return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), sizes)


class Translator:
    """Translates the graph of a concrete function, node by node.

    Args:
        prefix: the prefix of every name, so that the names of a graph and of those inside it differ.
        recurrent: what replaces an operation, by its name: an `Operator` or a `Loop`.

    Attributes:
        nodes, initializers: what was translated so far.
    """

    def __init__(self, prefix="", recurrent=None):
        self.prefix = prefix
        self.recurrent = recurrent
        self.nodes = []
        self.initializers = []
        self.names = {}
        self.variables = {}

    def translate(self, function, input_names):
        """Translate a function whose inputs get these names; return the names of its flat outputs."""
        for tensor, name in zip(function.inputs, input_names, strict=False):
            self.names[tensor.name] = name
        handles = {id(variable.handle): variable for variable in function.graph.variables}
        for outer, inner in function.graph.captures:
            if inner.dtype == tf.resource:
                self.variables[inner.name] = handles[id(outer)]
            else:
                self.names[inner.name] = self.constant(outer.numpy())
        needed = self._needed(function)
        for operation in function.graph.get_operations():
            if operation.name in needed and operation.type != "Placeholder":
                self._operation(operation)
        return [self.names[tensor.name] for tensor in function.outputs]

    def _needed(self, function):
        """The names of the operations that the outputs depend on."""
        needed, left = set(), [tensor.op for tensor in function.outputs]
        while left:
            operation = left.pop()
            if operation.name not in needed:
                needed.add(operation.name)
                left += [tensor.op for tensor in operation.inputs]
        return needed

    def constant(self, value):
        name = f"{self.prefix}constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind, inputs, outputs=1, **attributes):
        """Add an ONNX node and return its output's name, or a list of several."""
        names = [f"{self.prefix}{kind}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def rename(self, names, new_names):
        """Give values additional names."""
        for old, new in zip(names, new_names, strict=True):
            self.nodes.append(helper.make_node("Identity", [old], [new]))

    def cast(self, name, dtype):
        return self.node("Cast", [name], to=onnx_type(tf.as_dtype(dtype)))

    def _operation(self, operation):
        translate = getattr(self, f"_{operation.type}", None)
        inputs = [self.names.get(tensor.name) for tensor in operation.inputs]
        if operation.type in SAME:
            outputs = self.node(SAME[operation.type], inputs)
        elif operation.type in REDUCED:
            axes = _static(operation.inputs[1]).ravel().tolist()
            keep = int(operation.get_attr("keep_dims"))
            outputs = self.node(REDUCED[operation.type], inputs[:1], axes=axes, keepdims=keep)
        elif translate is not None:
            outputs = translate(operation, inputs)
        else:
            raise UnknownOperationError(
                f"The operation {operation.type} ({operation.name}) has no translation to ONNX here."
            )
        for tensor, name in zip(
            operation.outputs, [outputs] if isinstance(outputs, str) else outputs, strict=True
        ):
            self.names[tensor.name] = name

    # -- one method for each of TensorFlow's operations that is different in ONNX

    def _Const(self, operation, inputs):
        return self.constant(_static(operation.outputs[0]))

    def _ReadVariableOp(self, operation, inputs):
        return self.constant(self.variables[operation.inputs[0].name].numpy())

    def _ResourceGather(self, operation, inputs):
        table = self.constant(self.variables[operation.inputs[0].name].numpy())
        return self.node("Gather", [table, inputs[1]], axis=0)

    def _GatherV2(self, operation, inputs):
        return self.node("Gather", inputs[:2], axis=int(_static(operation.inputs[2])))

    def _PyFuncStateless(self, operation, inputs):
        call = self.recurrent[operation.name]
        if isinstance(call, Operator):
            return self._operator(call, inputs)
        outputs, *after = self._loop(call, inputs)
        return [outputs, *after[: len(operation.outputs) - 1]]

    def _Cast(self, operation, inputs):
        return self.cast(inputs[0], operation.outputs[0].dtype)

    def _Shape(self, operation, inputs):
        return self.cast(self.node("Shape", inputs), operation.outputs[0].dtype)

    def _Reshape(self, operation, inputs):
        return self.node("Reshape", [inputs[0], self.cast(inputs[1], tf.int64)])

    def _Fill(self, operation, inputs):
        return self.node("Expand", [inputs[1], self.cast(inputs[0], tf.int64)])

    def _BroadcastTo(self, operation, inputs):
        return self.node("Expand", [inputs[0], self.cast(inputs[1], tf.int64)])

    def _Tile(self, operation, inputs):
        return self.node("Tile", [inputs[0], self.cast(inputs[1], tf.int64)])

    def _ZerosLike(self, operation, inputs):
        return self._full(operation, inputs, 0)

    def _OnesLike(self, operation, inputs):
        return self._full(operation, inputs, 1)

    def _full(self, operation, inputs, value):
        value = self.constant(np.asarray(value, operation.outputs[0].dtype.as_numpy_dtype))
        return self.node("Expand", [value, self.node("Shape", inputs)])

    def _MatMul(self, operation, inputs):
        return self._product(operation, inputs, "transpose_a", "transpose_b")

    def _BatchMatMulV2(self, operation, inputs):
        return self._product(operation, inputs, "adj_x", "adj_y")

    def _product(self, operation, inputs, *flags):
        turned = []
        for name, tensor, flag in zip(inputs, operation.inputs, flags, strict=True):
            axes = list(range(tensor.shape.rank))
            swapped = [*axes[:-2], axes[-1], axes[-2]]
            turned.append(self.node("Transpose", [name], perm=swapped) if operation.get_attr(flag) else name)
        return self.node("MatMul", turned)

    def _ExpandDims(self, operation, inputs):
        return self.node(
            "Unsqueeze", [inputs[0], self.constant(_static(operation.inputs[1]).reshape(1).astype("int64"))]
        )

    def _Squeeze(self, operation, inputs):
        axes = self.constant(np.array(operation.get_attr("squeeze_dims"), "int64"))
        return self.node("Squeeze", [inputs[0], axes])

    def _Transpose(self, operation, inputs):
        return self.node("Transpose", inputs[:1], perm=_static(operation.inputs[1]).tolist())

    def _ConcatV2(self, operation, inputs):
        return self.node("Concat", inputs[:-1], axis=int(_static(operation.inputs[-1])))

    def _Pack(self, operation, inputs):
        axis = int(operation.get_attr("axis"))
        at = self.constant(np.array([axis], "int64"))
        return self.node("Concat", [self.node("Unsqueeze", [x, at]) for x in inputs], axis=axis)

    def _Split(self, operation, inputs):
        return self._parts(inputs[1], len(operation.outputs), axis=int(_static(operation.inputs[0])))

    def _SplitV(self, operation, inputs):
        sizes = self.constant(_static(operation.inputs[1]).astype("int64"))
        axis = int(_static(operation.inputs[2]))
        return self._parts([inputs[0], sizes], len(operation.outputs), axis=axis)

    def _parts(self, inputs, count, axis):
        inputs = [inputs] if isinstance(inputs, str) else inputs
        parts = self.node("Split", inputs, outputs=count, axis=axis)
        return [parts] if count == 1 else parts

    def _StridedSlice(self, operation, inputs):
        masks = {
            f"{name}_mask": operation.get_attr(f"{name}_mask")
            for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
        }
        bounds = (_static(x).tolist() for x in operation.inputs[1:4])
        cuts, squeezed, added = plan_slice(operation.inputs[0].shape.rank, *bounds, **masks)
        x = inputs[0]
        if cuts:
            x = self.node("Slice", [x, *(self._int64(part) for part in zip(*cuts, strict=True))])
        if squeezed:
            x = self.node("Squeeze", [x, self._int64(squeezed)])
        if added:
            x = self.node("Unsqueeze", [x, self._int64(added)])
        return x

    def _int64(self, values):
        return self.constant(np.array(values, "int64"))

    def _Sum(self, operation, inputs):
        axes = self.constant(_static(operation.inputs[1]).reshape(-1).astype("int64"))
        return self.node("ReduceSum", [inputs[0], axes], keepdims=int(operation.get_attr("keep_dims")))

    def _Any(self, operation, inputs):
        return self._of_truth("ReduceMax", operation, inputs)

    def _All(self, operation, inputs):
        return self._of_truth("ReduceMin", operation, inputs)

    def _of_truth(self, kind, operation, inputs):
        axes = _static(operation.inputs[1]).reshape(-1).tolist()
        keep = int(operation.get_attr("keep_dims"))
        reduced = self.node(kind, [self.cast(inputs[0], tf.int32)], axes=axes, keepdims=keep)
        return self.cast(reduced, tf.bool)

    def _NotEqual(self, operation, inputs):
        return self.node("Not", [self.node("Equal", inputs)])

    def _Rsqrt(self, operation, inputs):
        return self.node("Reciprocal", [self.node("Sqrt", inputs)])

    def _Erfc(self, operation, inputs):
        one = self.constant(np.ones((), operation.outputs[0].dtype.as_numpy_dtype))
        return self.node("Sub", [one, self.node("Erf", inputs)])

    def _Square(self, operation, inputs):
        return self.node("Mul", inputs * 2)

    def _SquaredDifference(self, operation, inputs):
        difference = self.node("Sub", inputs)
        return self.node("Mul", [difference, difference])

    def _FloorMod(self, operation, inputs):
        if operation.outputs[0].dtype.is_integer:
            return self.node("Mod", inputs)
        whole = self.node("Floor", [self.node("Div", inputs)])
        return self.node("Sub", [inputs[0], self.node("Mul", [whole, inputs[1]])])

    def _Relu6(self, operation, inputs):
        bounds = [self.constant(np.array(x, operation.outputs[0].dtype.as_numpy_dtype)) for x in (0, 6)]
        return self.node("Clip", [*inputs, *bounds])

    def _ReverseV2(self, operation, inputs):
        axes = _static(operation.inputs[1]).astype("int64")
        last, before_first = np.full_like(axes, -1), np.full_like(axes, np.iinfo("int64").min)
        cut = [self.constant(part) for part in (last, before_first, axes, last)]
        return self.node("Slice", [inputs[0], *cut])

    def _LeakyRelu(self, operation, inputs):
        return self.node("LeakyRelu", inputs, alpha=operation.get_attr("alpha"))

    # -- recurrent layers

    def _operator(self, call, inputs):
        """ONNX's own operator: from states and sequences to outputs and last states."""
        *states, x = inputs
        weights = {name: self.constant(np.ascontiguousarray(value)) for name, value in call.weights.items()}
        outputs, *after = self.node(
            call.kind,
            [
                self.node("Transpose", [x], perm=[1, 0, 2]),
                *(weights[name] for name in "WRB"),
                "",
                *(self.node("Unsqueeze", [state, self._int64([0])]) for state in states),
                *([weights["P"]] if "P" in weights else []),
            ],
            outputs=1 + len(states),
            hidden_size=call.units,
            direction="reverse" if call.reverse else "forward",
            **call.attributes,
        )
        outputs = self.node("Squeeze", [outputs, self._int64([1])])
        outputs = self.node("Transpose", [outputs], perm=[1, 0, 2])
        if call.reverse:  # ONNX keeps the input's order, Keras that of processing
            cut = (self._int64([bound]) for bound in (-1, -LAST, 1, -1))
            outputs = self.node("Slice", [outputs, *cut])
        return [outputs, *(self.node("Squeeze", [state, self._int64([0])]) for state in after)]

    def _loop(self, call, inputs):
        """A Scan over the graph of one step: from carried and scanned tensors to outputs and last states."""
        prefix = f"{call.name}_step_"
        inner = Translator(prefix)
        given = [f"{prefix}in_{k}" for k in range(len(inputs))]
        made = [f"{prefix}out_{k}" for k in range(call.carried + 1)]
        inner.rename(inner.translate(call.step, given), made)
        graph = graph_of(
            inner,
            f"{prefix}graph",
            [value_info(*pair) for pair in zip(given, call.step.inputs, strict=False)],
            [value_info(*pair) for pair in zip(made, call.step.outputs, strict=True)],
        )
        scanned = len(inputs) - call.carried
        *after, outputs = self.node(
            "Scan",
            inputs,
            outputs=len(made),
            body=graph,
            num_scan_inputs=scanned,
            scan_input_axes=[1] * scanned,
            scan_input_directions=[int(call.reverse)] * scanned,
            scan_output_axes=[1],
        )
        return [outputs, *after]


LAST = np.iinfo("int64").max


class SlicePlan(NamedTuple):
    """A slice as the three operations that ONNX needs for it.

    Attributes:
        cuts: `(start, stop, axis, step)` for every axis that is not taken whole.
        squeezed: the axes that are then removed, counted in the input.
        added: the axes that are then added, counted in the output.
    """

    cuts: list
    squeezed: list
    added: list


def plan_slice(
    rank, begin, end, strides, *, begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask
):
    """What `tf.strided_slice` does to a tensor of this rank.

    Args:
        rank: the number of axes.
        begin, end, strides: a number for every entry between the brackets.
        begin_mask, end_mask: the entries, a bit for each, that start at the beginning or go to the end.
        ellipsis_mask, new_axis_mask, shrink_axis_mask: the entries that are `...`, `None`, or an index.
    """
    entries = range(len(begin))
    without_axis = [k for k in entries if (ellipsis_mask | new_axis_mask) >> k & 1]
    plan, axis, axis_out = SlicePlan([], [], []), 0, 0
    for k in entries:
        bit = 1 << k
        if ellipsis_mask & bit:
            passed_over = rank - (len(begin) - len(without_axis))
            axis, axis_out = axis + passed_over, axis_out + passed_over
        elif new_axis_mask & bit:
            plan.added.append(axis_out)
            axis_out += 1
        elif shrink_axis_mask & bit:
            plan.cuts.append((begin[k], begin[k] + 1 or LAST, axis, 1))
            plan.squeezed.append(axis)
            axis += 1
        else:
            forwards = strides[k] > 0
            start = (0 if forwards else LAST) if begin_mask & bit else begin[k]
            stop = (LAST if forwards else -LAST) if end_mask & bit else end[k]
            if (start, stop, strides[k]) != (0, LAST, 1):
                plan.cuts.append((start, stop, axis, strides[k]))
            axis, axis_out = axis + 1, axis_out + 1
    return plan


def _static(tensor):
    value = tf.get_static_value(tensor)
    if value is None:
        raise UnknownOperationError(f"{tensor.op.name} must be a constant to be translated to ONNX.")
    return np.asarray(value)
