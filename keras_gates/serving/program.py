"""The graph of a function as a list of NumPy calls, for inputs of fixed shapes.

Calling a function of TensorFlow takes some hundred microseconds, however little it computes. Here its graph
is followed once: what depends on weights and shapes alone is computed then, every other result gets its place
in memory, and reshaping and slicing become views of such places. Calls that fill these places remain.
"""

import functools

import numpy as np
import tensorflow as tf

UFUNCS = {
    "Abs": np.absolute,
    "Add": np.add,
    "AddV2": np.add,
    "BiasAdd": np.add,
    "Ceil": np.ceil,
    "Equal": np.equal,
    "Exp": np.exp,
    "Expm1": np.expm1,
    "Floor": np.floor,
    "FloorDiv": np.floor_divide,
    "FloorMod": np.mod,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "Log": np.log,
    "Log1p": np.log1p,
    "LogicalAnd": np.logical_and,
    "LogicalNot": np.logical_not,
    "LogicalOr": np.logical_or,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "NotEqual": np.not_equal,
    "Pow": np.power,
    "RealDiv": np.divide,
    "Sign": np.sign,
    "Sqrt": np.sqrt,
    "Square": np.square,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
REDUCED = {
    "All": np.logical_and,
    "Any": np.logical_or,
    "Max": np.maximum,
    "Min": np.minimum,
    "Prod": np.multiply,
    "Sum": np.add,
}
CALLS = "PartitionedCall", "StatefulPartitionedCall"
SLICES = "begin", "end", "ellipsis", "new_axis", "shrink_axis"
LARGE = 9216  # numbers in a matrix; the product of a vector with one as large takes all threads of OpenBLAS
MOST_GATES = 6  # side by side in one array
DTYPES = "float32", "float64", "int32", "int64", "bool"


class NotNativeError(ValueError):
    """A function that cannot be carried out by NumPy."""


class Graph:
    """The graph of a function that was loaded from a SavedModel.

    Args:
        function: a signature, a concrete function from named tensors to a dict of tensors.

    Attributes:
        nodes: the nodes of the function, by name.
        functions: for each function that it calls, by name, its nodes, the names of its arguments, and
            references to what it returns.
        arguments: the names of the nodes that stand for its inputs, by the names of the inputs.
        results: references to its outputs, by their names.
        handles: the variables that it reads, by the names of the nodes that stand for them.
    """

    def __init__(self, function):
        definition = function.graph.as_graph_def()
        self.nodes = {node.name: node for node in definition.node}
        self.functions = {called.signature.name: _parts(called) for called in definition.library.function}
        names = sorted(function.structured_input_signature[1])
        self.arguments = {name: x.op.name for name, x in zip(names, function.inputs, strict=False)}
        # The flat outputs come sorted by name, as tf.nest flattens a dict.
        self.results = dict(
            zip(sorted(function.structured_outputs), (x.name for x in function.outputs), strict=True)
        )
        self.handles = {inner.op.name: outer for outer, inner in function.graph.captures}
        self.read = functools.cache(_read)  # so that programs share the weights


class Program:
    """A function as NumPy calls. Its memory is its own; weights are shared with other programs of the graph.

    Args:
        graph: a `Graph`.
        specs: the shape and dtype of each input, all axes of known size, a dict of `tf.TensorSpec` by name.

    Attributes:
        inputs: arrays by name, which a run fills with what it is given.
        outputs: arrays by name, which a run fills. None of them shares memory with an input.
        states: those outputs that have the name of an input, which the next run may be given.

    Raises:
        NotNativeError: the function has an operation that is unknown here, or computes in half precision; the
            message names the layer.
    """

    def __init__(self, graph, specs):
        self._graph, self._calls, self._gates = graph, [], {}
        self.inputs = {name: np.zeros(spec.shape, spec.dtype.as_numpy_dtype) for name, spec in specs.items()}
        given = {node: [self.inputs[name]] for name, node in graph.arguments.items()}
        given |= {node: [handle] for node, handle in graph.handles.items()}
        with np.errstate(all="ignore"):
            outputs = self._follow(graph.nodes, list(graph.results.values()), given)
            named = zip(graph.results, outputs, strict=True)
            self.outputs = {name: self._apart_from_inputs(x) for name, x in named}
        self.states = {name: x for name, x in self.outputs.items() if name in self.inputs}

    def run(self, *given):
        """Compute the outputs from the inputs.

        Args:
            *given: dicts that together have an array of its dtype and shape for each input, by name.

        Raises:
            IndexError: an input selects an element that does not exist.
        """
        places = self.inputs
        for some in given:
            for name, x in some.items():
                places[name][...] = x
        with np.errstate(all="ignore"):
            for call in self._calls:
                call()

    # -- following the graph

    def _follow(self, nodes, wanted, values):
        """The arrays that references stand for.

        Args:
            nodes: the nodes of a function, by name.
            wanted: references: a list of `NAME`, `NAME:2` or `NAME:output:2`.
            values: the outputs of those nodes that are known, a list for each, by name.
        """
        values = dict(values)
        for name in _in_order(nodes, [_source(reference)[0] for reference in wanted], values):
            inputs = [values[source][place] for source, place in _inputs(nodes[name])]
            values[name] = self._outputs_of(nodes[name], inputs)
        return [values[name][place] for name, place in map(_source, wanted)]

    def _outputs_of(self, node, inputs):
        if node.op in CALLS:
            nodes, arguments, results = self._graph.functions[node.attr["f"].func.name]
            return self._follow(
                nodes, results, {name: [x] for name, x in zip(arguments, inputs, strict=True)}
            )
        translate = getattr(self, f"_{node.op}", None)
        if node.op in UFUNCS:
            outputs = self._ufunc(UFUNCS[node.op], *inputs)
        elif node.op in REDUCED:
            outputs = self._reduced(
                REDUCED[node.op], inputs[0], _numbers(inputs[1]), node.attr["keep_dims"].b
            )
        elif translate is not None:
            outputs = translate(node, *inputs)
        else:
            raise _refusal(node, f"needs TensorFlow's operation {node.op}")
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for x in outputs:
            if x.dtype.name not in DTYPES:
                raise _refusal(node, f"computes in {x.dtype.name}")
        return outputs

    # -- calls. A constant array cannot be written to, and neither can a view of it.

    def _do(self, given, out, function, /, *arguments, **options):
        """Have `function(*arguments, **options)` fill `out` from the arrays `given`, now and in every run.

        If all of them are constant, so is `out`.
        """
        call = functools.partial(function, *arguments, **options)
        call()
        if any(x.flags.writeable for x in given):
            self._calls.append(call)
        else:
            _frozen(out)
        return out

    def _ufunc(self, function, *inputs):
        out = np.asarray(function(*inputs))
        *fitted, place = (_fitted(x, out.shape) for x in (*inputs, out))
        if function in (np.maximum, np.minimum):  # which take the place by name only
            return self._do(inputs, out, function, *fitted, out=place)
        return self._do(inputs, out, function, *fitted, place)  # by name would take half as long again

    def _reduced(self, function, x, axes, keep):
        out = np.asarray(function.reduce(x, axes, x.dtype, None, keep))
        return self._do([x], out, function.reduce, x, axes, x.dtype, out, keep)

    def _product(self, a, b):
        if a.shape[:-1] == (1,) and b.size >= LARGE:
            return self._product_of_one_row(a, b)
        out = np.matmul(a, b)
        return self._do([a, b], out, np.matmul, a, b, out)

    def _product_of_one_row(self, a, b):
        """By two rows, which OpenBLAS multiplies in one thread: waking another takes longer than that."""
        rows = np.zeros((2, a.shape[1]), a.dtype)
        self._do([a], rows, rows.__setitem__, 0, a[0])
        out = np.matmul(rows, b)
        return self._do([a, b], out, np.matmul, rows, b, out)[:1]

    def _copied(self, x, dtype=None):
        out = np.empty(x.shape, dtype or x.dtype)
        return self._do([x], out, out.__setitem__, ..., x)

    def _apart_from_inputs(self, x):
        shared = any(np.may_share_memory(x, given) for given in self.inputs.values())
        return self._copied(x) if shared else x

    # -- one method for each of TensorFlow's operations that is not a function of NumPy

    def _Const(self, node):
        return _frozen(tf.make_ndarray(node.attr["value"].tensor))

    def _ReadVariableOp(self, node, handle):
        return self._graph.read(handle.ref(), node.attr["dtype"].type)

    def _ResourceGather(self, node, handle, indices):
        return self._taken(node, self._ReadVariableOp(node, handle), indices, 0)

    def _GatherV2(self, node, x, indices, axis):
        return self._taken(node, x, indices, _numbers(axis)[0])

    def _taken(self, node, x, indices, axis):
        if node.attr["batch_dims"].i:
            raise _refusal(node, "gathers from every row of a batch apart")
        out = np.array(np.take(x, indices, axis))
        return self._do([x, indices], out, _take, x, indices, axis, out)

    def _Identity(self, node, x):
        return x

    _StopGradient = _PreventGradient = _EnsureShape = _Identity

    def _IdentityN(self, node, *inputs):
        return list(inputs)

    def _Cast(self, node, x):
        return self._copied(x, tf.as_dtype(node.attr["DstT"].type).as_numpy_dtype)

    def _MatMul(self, node, a, b):
        a = a.T if node.attr["transpose_a"].b else a
        return self._product(a, b.T if node.attr["transpose_b"].b else b)

    def _BatchMatMulV2(self, node, a, b):
        a = a.swapaxes(-1, -2) if node.attr["adj_x"].b else a
        return self._product(a, b.swapaxes(-1, -2) if node.attr["adj_y"].b else b)

    def _SelectV2(self, node, condition, a, b):
        out = np.where(condition, a, b)
        fitted = [_fitted(x, out.shape) for x in (condition, a, b, out)]
        return self._do([condition, a, b], out, _select, *fitted)

    def _Sigmoid(self, node, x):
        whole = x.base
        if whole is None or whole.size > MOST_GATES * x.size:
            return self._sigmoid(x)
        # The part of a gate: the other gates' parts will be asked for too, and at once costs less.
        if id(whole) not in self._gates:
            self._gates[id(whole)] = whole, self._sigmoid(whole)
        at = x.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        return np.ndarray(x.shape, x.dtype, self._gates[id(whole)][1], at, x.strides)

    def _sigmoid(self, x):
        # by tanh, which does not overflow
        half = _frozen(np.asarray(0.5, x.dtype))
        x = self._ufunc(np.tanh, self._ufunc(np.multiply, x, half))
        return self._ufunc(np.add, self._ufunc(np.multiply, x, half), half)

    def _Softmax(self, node, x):
        x = self._ufunc(np.exp, self._ufunc(np.subtract, x, self._reduced(np.maximum, x, -1, True)))
        return self._ufunc(np.divide, x, self._reduced(np.add, x, -1, True))

    def _Softplus(self, node, x):
        return self._ufunc(np.logaddexp, x, _like(x, 0))

    def _Relu(self, node, x):
        return self._ufunc(np.maximum, x, _like(x, 0))

    def _Rsqrt(self, node, x):
        return self._ufunc(np.reciprocal, self._ufunc(np.sqrt, x))

    def _SquaredDifference(self, node, a, b):
        return self._ufunc(np.square, self._ufunc(np.subtract, a, b))

    def _Mean(self, node, x, axes):
        total = self._reduced(np.add, x, _numbers(axes), node.attr["keep_dims"].b)
        return self._ufunc(np.divide, total, _like(x, x.size // max(total.size, 1)))

    # -- shapes

    def _Shape(self, node, x):
        return _frozen(np.array(x.shape, tf.as_dtype(node.attr["out_type"].type).as_numpy_dtype))

    def _ZerosLike(self, node, x):
        return _frozen(np.zeros_like(x))

    def _OnesLike(self, node, x):
        return _frozen(np.ones_like(x))

    def _Fill(self, node, shape, value):
        out = np.full(_numbers(shape), value)
        return self._do([value], out, out.__setitem__, ..., value)

    def _BroadcastTo(self, node, x, shape):
        out = np.empty(_numbers(shape), x.dtype)
        return self._do([x], out, out.__setitem__, ..., x)

    def _Tile(self, node, x, multiples):
        out = np.tile(x, _numbers(multiples))
        return self._do([x], out, _tile, x, _numbers(multiples), out)

    def _Reshape(self, node, x, shape):
        return self._reshaped(x, _numbers(shape))

    def _reshaped(self, x, shape):
        seen = x.reshape(shape)
        return seen if np.may_share_memory(seen, x) or not x.size else self._copied(x).reshape(shape)

    def _ExpandDims(self, node, x, axis):
        return np.expand_dims(x, _numbers(axis)[0])

    def _Squeeze(self, node, x):
        axes = tuple(node.attr["squeeze_dims"].list.i)
        return x.squeeze(axes or None)

    def _Transpose(self, node, x, axes):
        return x.transpose(_numbers(axes))

    def _ReverseV2(self, node, x, axes):
        return np.flip(x, _numbers(axes))

    def _ConcatV2(self, node, *inputs):
        *parts, axis = inputs
        axis = _numbers(axis)[0]
        parts = [x for x in parts if x.shape[axis]] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        out = np.concatenate(parts, axis)
        return self._do(parts, out, np.concatenate, parts, axis, out)

    def _Pack(self, node, *parts):
        axis = node.attr["axis"].i
        out = np.stack(parts, axis)
        return self._do(parts, out, np.stack, parts, axis, out)

    def _Unpack(self, node, x):
        x = np.moveaxis(x, node.attr["axis"].i, 0)
        return [x[k, ...] for k in range(len(x))]

    def _Split(self, node, axis, x):
        return np.split(x, node.attr["num_split"].i, _numbers(axis)[0])

    def _SplitV(self, node, x, sizes, axis):
        return np.split(x, np.cumsum(_numbers(sizes))[:-1], _numbers(axis)[0])

    def _StridedSlice(self, node, x, *bounds):
        entries, rows = [], zip(*(_numbers(bound) for bound in bounds), strict=True)
        for k, (begin, end, stride) in enumerate(rows):
            has = {kind: node.attr[f"{kind}_mask"].i >> k & 1 for kind in SLICES}
            if has["ellipsis"]:
                entries.append(...)
            elif has["new_axis"]:
                entries.append(None)
            elif has["shrink_axis"]:
                entries.append(begin)
            else:
                entries.append(slice(None if has["begin"] else begin, None if has["end"] else end, stride))
        return x[tuple(entries if ... in entries else [*entries, ...])]  # with `...` it is always a view


# -- nodes and references


def _parts(function):
    """The nodes of a function in the library of a graph, its arguments, and references to what it returns."""
    signature = function.signature
    results = [function.ret[output.name] for output in signature.output_arg]
    return {n.name: n for n in function.node_def}, [a.name for a in signature.input_arg], results


def _source(reference):
    """The node that a reference names, and which of its outputs."""
    name, *rest = reference.split(":")
    return name, int(rest[-1]) if rest else 0


def _inputs(node):
    """What a node takes: names of nodes, and which of their outputs. `^NAME` only says what runs before."""
    return [_source(reference) for reference in node.input if not reference.startswith("^")]


def _in_order(nodes, wanted, known):
    """The names of the nodes on which some nodes depend, each after those that it depends on itself."""
    ordered, left = {}, [(name, False) for name in wanted]
    while left:
        name, ready = left.pop()
        if ready:
            ordered[name] = None
        elif name not in ordered and name not in known:
            left.append((name, True))
            left += [(source, False) for source, _ in _inputs(nodes[name])]
    return list(ordered)


def _refusal(node, reason):
    layer, _, _ = node.name.rpartition("/")
    return NotNativeError(f"No native stream: the layer {layer or node.name!r} {reason}; use native=False.")


# -- arrays


def _read(handle, dtype):
    return _frozen(tf.raw_ops.ReadVariableOp(resource=handle.deref(), dtype=dtype).numpy())


def _frozen(array):
    array.flags.writeable = False
    return array


def _like(x, value):
    return _frozen(np.asarray(value, x.dtype))


def _numbers(x):
    """The numbers in an array that must be the same in every run, a tuple."""
    if x.flags.writeable:
        raise NotNativeError(
            "No native stream: the shape of a tensor depends on the inputs; use native=False."
        )
    return tuple(x.reshape(-1).tolist())


def _fitted(x, shape):
    """An array that will be broadcast to a shape, without axes of size one, which cost half a microsecond.

    NumPy's functions are fastest where all arrays have one shape, or are single numbers.
    """
    if x.size == 1:
        return x.reshape(())
    if x.shape != shape and not x.flags.writeable:
        x = _frozen(np.array(np.broadcast_to(x, shape)))
    x = x[(None,) * (len(shape) - x.ndim)]
    return x.squeeze(tuple(axis for axis, size in enumerate(shape) if size == 1))


def _take(x, indices, axis, out):
    given = indices.ravel().tolist()  # for a few, faster than `indices.min()`
    if given and not 0 <= min(given) <= max(given) < x.shape[axis]:
        raise IndexError(f"they select {min(given)} to {max(given)} of {x.shape[axis]}")
    x.take(indices, axis, out, "clip")  # by default it would be copied in between


def _select(condition, a, b, out):
    out[...] = b
    np.copyto(out, a, "same_kind", condition)


def _tile(x, multiples, out):
    out[...] = np.tile(x, multiples)
