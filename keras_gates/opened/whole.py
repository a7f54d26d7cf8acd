"""A model on sequences of any length: its inputs and outputs by name, and the calls of its layers."""

import functools

import keras

from keras_gates.opened.graph import CallError, calls_of


class NotStepwiseError(ValueError):
    """A model that cannot run one step at a time."""


def not_stepwise(layer, over=None):
    """The error that names the layer which cannot run one step at a time."""
    where = "" if over is None else f" over its input {over!r}"
    return NotStepwiseError(
        f"The model cannot run one step at a time{where}: its layer {layer.name!r} ({type(layer).__name__}) "
        "reads other steps than the one it is at. It runs on whole sequences only."
    )


def named_outputs(model, outputs):
    """A dict of the outputs: a single one is `outputs`, several have their names in the model."""
    if isinstance(outputs, dict):
        return dict(outputs)
    outputs = keras.tree.flatten(outputs)
    return dict(zip(["outputs"] if len(outputs) == 1 else model.output_names, outputs, strict=True))


def named_inputs(model):
    """The symbolic inputs by name: a single one is `inputs`, several have their names in the model."""
    names = ["inputs"] if len(model.inputs) == 1 else [tensor.name for tensor in model.inputs]
    return dict(zip(names, model.inputs, strict=True))


def run(model, inputs):
    """The outputs of a functional model by name for a flat list of inputs, in inference."""
    return named_outputs(model, model(keras.tree.pack_sequence_as(model.input, inputs), training=False))


def is_sequence(tensor):
    """Whether an input has time as its second axis, rather than being the features of a whole sequence."""
    rank = len(tensor.shape)
    return rank > 2 or (rank == 2 and (tensor.shape[1] is None or "float" not in str(tensor.dtype)))


class Whole:
    """A functional model on whole sequences of any length, after its tokenizer if it has one.

    Attributes:
        over: the name of the input that is to be given step by step; None for all sequences.
        tokenizer: the `TextVectorization` layer that reads this input first, or None. If there is one, it is
            left out: the input is called `tokens` and takes integers.
        inputs: the symbolic inputs by name.
        stepped: the names of those that are to be given step by step.
        calls: the calls of its layers (`keras_gates.opened.graph.Call`).
        outputs: the symbolic outputs by name.
        model: a functional model from the flat list of inputs to the dict of outputs.
    """

    def __init__(self, model, over=None):
        named = named_inputs(model)
        stepped = _stepped_inputs(named, over)
        self.name, self.over = model.name, over
        self.tokenizer = _tokenizer_of(model, [named[name] for name in stepped])
        self.stepped = ["tokens"] if self.tokenizer else stepped
        self.inputs = {}
        for name, tensor in named.items():
            if name not in stepped:
                self.inputs[name] = tensor
            elif self.tokenizer:
                self.inputs["tokens"] = keras.Input((None,), dtype="int64", name="tokens")
            else:
                shape = tensor.shape[:1] + (None,) * (len(tensor.shape) > 1) + tensor.shape[2:]
                self.inputs[name] = keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)
        try:
            skip = self.tokenizer, self.inputs.get("tokens")
            self.calls, outputs = calls_of(model, list(self.inputs.values()), skip)
        except CallError as error:
            raise not_stepwise(error.layer, over) from error.__cause__
        self.outputs = named_outputs(model, keras.tree.pack_sequence_as(model.output, outputs))

    @functools.cached_property
    def model(self):
        return keras.Model(list(self.inputs.values()), self.outputs, name=self.name)


def _stepped_inputs(named, over):
    """The names of the inputs that are given step by step."""
    if over is None:
        texts = [name for name, tensor in named.items() if tensor.dtype == "string" and len(named) == 1]
        return [name for name, tensor in named.items() if is_sequence(tensor)] or texts
    for name, tensor in named.items():
        if over in (name, tensor.name):
            return [name]
    raise ValueError(f"`over` must be an input of the model, {listed(named)}; got {over!r}.")


def listed(names):
    """Names in quotes, for a sentence."""
    return ", ".join(map(repr, names))


def _tokenizer_of(model, stepped):
    """The `TextVectorization` layer that reads the only stepped input first, or None."""
    if len(stepped) != 1 or stepped[0].dtype != "string":
        return None
    calls, _ = calls_of(model, model.inputs)
    readers = [call.layer for call in calls if any(x is stepped[0] for x in call.given)]
    is_tokenized = len(readers) == 1 and isinstance(readers[0], keras.layers.TextVectorization)
    return readers[0] if is_tokenized else None
