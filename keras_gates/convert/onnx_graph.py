"""TensorFlow's operations, as far as models of gated cells use them, in ONNX. Needs the package `onnx`."""

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

# Both from 2022, so that runtimes of some age read what is written.
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


def onnx_type(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype.as_numpy_dtype))


def value_info(name, tensor, shape=None):
    """The declaration of an input or output; free dimensions have no size, but a name of their own."""
    shape = tensor.shape if shape is None else shape
    sizes = [size if size is not None else f"{name}_{axis}" for axis, size in enumerate(shape)]
    return helper.make_tensor_value_info(name, onnx_type(tensor.dtype), sizes)


class Translator:
    """Translates the graph of a concrete function, node by node.

    Args:
        recurrent: a function that translates the nodes that stand for recurrent layers, or None.
        prefix: put before every name, so that the names of a graph and of those inside it differ.

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

    # -- one method for each of TensorFlow's operations that ONNX has otherwise

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
        return self.recurrent(self, operation, inputs)

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
        begin, end, stride = (_static(x).astype("int64") for x in operation.inputs[1:4])
        masks = {
            name: operation.get_attr(f"{name}_mask")
            for name in ("ellipsis", "new_axis", "begin", "end", "shrink_axis")
        }
        taking = [k for k in range(len(begin)) if not (masks["ellipsis"] | masks["new_axis"]) & (1 << k)]
        passed_over = operation.inputs[0].shape.rank - len(taking)
        cut, new, gone = [], [], []
        axis, axis_out = 0, 0  # where in the input and in the output an entry stands
        for k in range(len(begin)):
            bit = 1 << k
            if masks["ellipsis"] & bit:
                axis += passed_over
                axis_out += passed_over
                continue
            if masks["new_axis"] & bit:
                new.append(axis_out)
                axis_out += 1
                continue
            shrink = bool(masks["shrink_axis"] & bit)
            step = 1 if shrink else int(stride[k])
            last = np.iinfo("int64").max
            start, stop = int(begin[k]), int(end[k])
            if shrink:
                stop = start + 1 or last
                gone.append(axis)
            else:
                if masks["begin"] & bit:
                    start = 0 if step > 0 else last
                if masks["end"] & bit:
                    stop = last if step > 0 else -last
            cut.append((start, stop, axis, step))
            axis += 1
            axis_out += not shrink
        x = inputs[0]
        cut = [piece for piece in cut if piece != (0, np.iinfo("int64").max, piece[2], 1)]
        if cut:
            x = self.node(
                "Slice", [x, *(self.constant(np.array(part, "int64")) for part in zip(*cut, strict=True))]
            )
        if gone:
            x = self.node("Squeeze", [x, self.constant(np.array(gone, "int64"))])
        if new:
            x = self.node("Unsqueeze", [x, self.constant(np.array(new, "int64"))])
        return x

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


def _static(tensor):
    value = tf.get_static_value(tensor)
    if value is None:
        raise UnknownOperationError(f"{tensor.op.name} must be a constant to be translated to ONNX.")
    return np.asarray(value)


def graph_of(translator, name, inputs, outputs):
    """What was translated as an ONNX graph, with those constants alone that it uses."""
    used = {name for node in translator.nodes for name in node.input}
    constants = [constant for constant in translator.initializers if constant.name in used]
    return helper.make_graph(translator.nodes, name, inputs, outputs, constants)


def model_of(graph):
    """A checked ONNX model of a graph."""
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="keras_gates", ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
