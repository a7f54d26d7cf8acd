"""The graph of a functional Keras model as a list of calls, and functions to split it at an input."""

import functools
from dataclasses import dataclass

import keras
from keras import ops


@dataclass(frozen=True)
class Call:
    """One call in a graph: a layer or operation, its arguments, and the symbolic tensors it returns."""

    layer: keras.Operation
    args: tuple
    kwargs: dict
    outputs: object

    @property
    def given(self):
        """The symbolic tensors among the arguments."""
        return [x for x in keras.tree.flatten((self.args, self.kwargs)) if keras.utils.is_keras_tensor(x)]

    @property
    def tensors(self):
        """The symbolic tensors among the outputs."""
        return [x for x in keras.tree.flatten(self.outputs) if keras.utils.is_keras_tensor(x)]


class CallError(Exception):
    """A layer cannot be called on other inputs than those it was built on; the attribute `layer` holds it."""

    def __init__(self, layer):
        super().__init__(layer.name)
        self.layer = layer


def is_graph(layer):
    """Whether a layer is a model that only runs the graph it declares."""
    if isinstance(layer, keras.Sequential):
        return bool(layer.built and layer.inputs) and type(layer).call is keras.Sequential.call
    return isinstance(layer, _functional()) and type(layer).call is _functional().call


@functools.cache
def _functional():
    """Keras' class of functional models, which it does not export."""
    example = keras.Input(())
    return type(keras.Model(example, example))


def calls_of(model, inputs, skip=(None, None)):
    """Call the layers of a functional model on other inputs, those of nested models one by one.

    Args:
        model: a functional or sequential model.
        inputs: a flat list of symbolic tensors.
        skip: a layer and one of the inputs: where the layer is called on that input, the call is left out and
            the input passed on.

    Returns:
        The list of `Call`, in an order in which they can be made, and the flat list of outputs.

    Raises:
        CallError: a layer does not accept these inputs.
    """
    made, ends = [], []
    # The last call of the graph is a marker that receives the outputs.
    end = keras.layers.Identity(autocast=False)
    graph = keras.Model(model.inputs, end(model.outputs))

    def call(layer, *args, **kwargs):
        if layer is end:
            ends.extend(keras.tree.flatten(args[0]))
            return args[0]
        if layer is skip[0] and args[0] is skip[1]:
            return args[0]
        if is_graph(layer):
            masked = _with_masks(keras.tree.flatten(args[0]), keras.tree.flatten(kwargs.get("mask")))
            inner, outputs = calls_of(layer, [x.outputs if isinstance(x, Call) else x for x in masked], skip)
            made.extend([x for x in masked if isinstance(x, Call)] + inner)
            return keras.tree.pack_sequence_as(layer.output, outputs)
        made.append(call_of(layer, args, kwargs))
        return made[-1].outputs

    keras.models.clone_model(graph, inputs, clone_function=lambda layer: layer, call_function=call)
    return made, ends


def call_of(layer, args, kwargs):
    """Call a layer on symbolic tensors.

    Raises:
        CallError: it does not accept them.
    """
    try:
        return Call(layer, args, kwargs, layer(*args, **kwargs))
    except Exception as error:
        raise CallError(layer) from error


def _with_masks(inputs, masks):
    """The inputs of a nested model; an input with a mask is replaced by the call that attaches the mask."""
    masks = masks if len(masks) == len(inputs) else [None] * len(inputs)
    return [
        x if mask is None else call_of(WithMask(), ([x, mask],), {})
        for x, mask in zip(inputs, masks, strict=True)
    ]


def depending(calls, inputs):
    """The calls that depend on some of the inputs, in the same order."""
    reached = {id(tensor) for tensor in inputs}
    found = []
    for call in calls:
        if any(id(tensor) in reached for tensor in call.given):
            found.append(call)
            reached |= {id(tensor) for tensor in call.tensors}
    return found


def crossing(calls, inputs, outputs):
    """The tensors that enter a part of a graph besides its inputs, each once, in the order of their use.

    Args:
        calls: the calls of the part.
        inputs: its inputs.
        outputs: the tensors that it must return.
    """
    inside = {id(x) for x in inputs} | {id(x) for call in calls for x in call.tensors}
    wanted = [x for call in calls for x in call.given] + list(outputs)
    return list({id(x): x for x in wanted if id(x) not in inside}.values())


def replay(calls, replaced):
    """Repeat calls on other tensors; return the new calls, and all new tensors by the id of the old one.

    Args:
        calls: as `calls_of` returns them.
        replaced: the new tensors by the ids of those that they replace.
    """
    new, made = dict(replaced), []

    def swapped(nest):
        return keras.tree.map_structure(lambda x: new.get(id(x), x), nest)

    for call in calls:
        args, kwargs = swapped(call.args), swapped(call.kwargs)
        again = call_of(call.layer, args, kwargs)
        new.update({id(a): b for a, b in zip(call.tensors, again.tensors, strict=True)})
        made.append(again)
    return made, new


class WithMask(keras.layers.Layer):
    """The first of two tensors, carrying the second as its mask."""

    def __init__(self):
        super().__init__(autocast=False)

    def call(self, inputs):
        return ops.copy(inputs[0])  # else the mask would be set on the given tensor

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def compute_mask(self, inputs, previous_mask):
        return inputs[1]


class ReadMask(keras.layers.Layer):
    """Records the mask that its input carries."""

    def __init__(self):
        super().__init__(autocast=False)
        self.found = []

    def call(self, inputs, mask=None):
        self.found.append(mask)
        return inputs

    def compute_mask(self, inputs, previous_mask):
        return previous_mask


def mask_of(tensor):
    """The mask that Keras has set on a concrete (not symbolic) tensor, or None."""
    reader = ReadMask()
    reader(tensor)
    return reader.found[-1]
