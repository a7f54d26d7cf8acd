"""The three doors of an exported model: functions of tensors, to be traced into a TensorFlow graph.

`serve` takes whole sequences, `step` one step and the states before it, `trace` whole sequences again and
gives every gate and state. Each runs the model itself, `training=False`, with something standing in for the
loops of its recurrent layers; so what is exported is the model and not a copy of it.
"""

import contextlib
import functools
import itertools

import keras
import numpy as np
from keras import ops

from keras_gates.cells.wrappers import WrapperCell
from keras_gates.introspect.sweep import (
    attributes,
    layers_by_place,
    levels_of,
    name_states,
    recurrent_layers,
    watching,
    where_step,
)
from keras_gates.introspect.tracing import by_level
from keras_gates.layers.pooling import pool_step_of
from keras_gates.layers.rnn import RNN


class NotStepwiseError(ValueError):
    """A model that cannot run one step at a time."""


def as_functional(model):
    """A `Sequential` as the functional model it is; any other model as it is."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def named_outputs(model, outputs):
    """A dict of the outputs: of a single one as `outputs`, of several by their names in the model."""
    if isinstance(outputs, dict):
        return dict(outputs)
    outputs = keras.tree.flatten(outputs)
    return dict(zip(["outputs"] if len(outputs) == 1 else model.output_names, outputs, strict=True))


def named_inputs(model):
    """The symbolic inputs by name: a single one is `inputs`, several have their names in the model."""
    names = ["inputs"] if len(model.inputs) == 1 else [tensor.name for tensor in model.inputs]
    return dict(zip(names, model.inputs, strict=True))


def run(model, inputs):
    """The named outputs for a flat list of inputs, in inference."""
    return named_outputs(model, model(keras.tree.pack_sequence_as(model.input, inputs), training=False))


# -- whole sequences


@contextlib.contextmanager
def plain_loops(layers):
    """Within, recurrent layers go through a sequence by Keras' own loop, and draw no dropout masks.

    A graph that is to run anywhere may hold no operation that only this package brings.
    """
    with contextlib.ExitStack() as stack:
        for layer in layers:
            if isinstance(layer, RNN):
                loop = functools.partial(keras.layers.RNN.inner_loop, layer)
                stack.enter_context(attributes(layer, inner_loop=loop))
            stack.enter_context(without_dropout(layer))
        yield


@contextlib.contextmanager
def without_dropout(layer):
    """Within, a recurrent layer draws no masks; Keras draws them in inference too, and does not use them."""
    with contextlib.ExitStack() as stack:
        for cell in cells_of(layer):
            while isinstance(cell, WrapperCell):
                cell = cell.cell
            if hasattr(cell, "recurrent_dropout"):
                stack.enter_context(attributes(cell, dropout=0.0, recurrent_dropout=0.0))
        yield


def cells_of(layer):
    """The cells that a recurrent layer steps through, lowest first."""
    return layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]


def identifier(*parts):
    """A name that TensorFlow's signatures take as it is."""
    return "_".join(parts).replace("/", "_").replace("#", "_")


def serve_function(model, layers):
    def serve(*inputs):
        with plain_loops(layers.values()):
            return run(model, inputs)

    return serve


def trace_function(model, layers):
    """Whole sequences to the outputs and, batch first, every gate and state; NaN where a step is masked."""
    readable = {place: (layer, levels_of(layer.cell)) for place, layer in layers.items()}

    def trace(*inputs):
        with contextlib.ExitStack() as stack:
            for layer in layers.values():
                stack.enter_context(without_dropout(layer))
            seen = stack.enter_context(watching(readable))
            outputs = run(model, inputs)
        for place, layer in seen.items():
            levels = [
                {**reading["gates"], **name_states(cell, reading["states"])}
                for cell, reading in zip(layer["levels"], layer["readings"], strict=True)
            ]
            for name, level in by_level(place, layer, levels).items():
                for quantity, values in level["named"].items():
                    outputs[identifier(name, quantity)] = _batch_first(values, level.get("mask"))
        return outputs

    return trace


def _batch_first(values, mask):
    if mask is not None:
        counts = ops.reshape(mask, ops.shape(mask) + (1,) * (len(values.shape) - 2))
        values = ops.where(counts, values, ops.cast(float("nan"), values.dtype))
    return ops.swapaxes(values, 0, 1)


# -- one step


class Stepper:
    """A model taken one step at a time: what its recurrent layers carry comes in and goes out by name.

    Its layers run as they are, on sequences of one step, but for the recurrent ones, which start from the
    states given, and those that pool over time, which pool all steps so far. That this equals the whole
    sequence is tried out, layer by layer, when a stepper is made.

    Args:
        model: a functional or sequential Keras model.

    Attributes:
        model: the same layers, open in time; from the tokens on, if they begin with `TextVectorization`.
        tokenizer: that layer, or None.
        inputs: the inputs of one step by name, as `keras.InputSpec`.
        carried: the states by name, as `keras.InputSpec`.

    Raises:
        NotStepwiseError: a layer reads other steps than the one it is at; the sentence names it.
    """

    def __init__(self, model):
        model = as_functional(model)
        self.tokenizer = tokenizer_of(model)
        self.model, made = opened_in_time(model, self.tokenizer)
        self.layers = recurrent_layers(self.model)
        self.pools = layers_by_place(self.model, lambda layer: pool_step_of(layer) is not None)
        self.inputs = self._specified_inputs()
        self.carried = self._tried_out(made)
        if self.tokenizer is not None:
            self._check_tokenizer()

    def step(self, model, inputs, states):
        """One step of a model of these layers.

        Args:
            model: `self.model`, or another that holds its layers.
            inputs: a flat list, sequences being of one step.
            states: by name; what is missing is as before the first step.

        Returns:
            What the model gives, and the states after the step, by name.
        """
        after = {}
        with contextlib.ExitStack() as stack:
            for place, layer in self.layers.items():
                loop = functools.partial(one_step, place, layer, states, after)
                # Bidirectional has a way of its own on a GPU, past the loops of its two layers.
                stack.enter_context(attributes(layer, inner_loop=loop, use_cudnn=False))
                stack.enter_context(without_dropout(layer))
            for place, layer in self.pools.items():
                pool = functools.partial(pool_one_step, place, layer, states, after)
                stack.enter_context(attributes(layer, call=pool))
            outputs = model(keras.tree.pack_sequence_as(model.input, inputs), training=False)
        return outputs, after

    def initial_states(self, batch_size):
        """The states before the first step, by name."""
        states = {}
        for place, layer in self.layers.items():
            states.update(named_states(place, layer, layer.get_initial_state(batch_size)))
        for name, like in self.carried.items():
            if name not in states:
                states[name] = ops.zeros((batch_size, *like.shape[1:]), like.dtype)
        return states

    def _specified_inputs(self):
        names = ["tokens"] if self.tokenizer else named_inputs(self.model)
        shapes = [(*x.shape[:1], *x.shape[2:]) if is_sequence(x) else x.shape for x in self.model.inputs]
        return {
            name: keras.InputSpec(like.dtype, shape)
            for name, like, shape in zip(names, self.model.inputs, shapes, strict=True)
        }

    def _tried_out(self, made):
        """Run a sequence whole and in steps; return what is carried, or name the first layer that differs."""
        tensors = [tensor for _, tensors in made for tensor in tensors]
        probe = keras.Model(self.model.input, tensors)
        inputs = [_sample(tensor) for tensor in self.model.inputs]
        with plain_loops(self.layers.values()):
            whole = keras.tree.flatten(
                probe(keras.tree.pack_sequence_as(probe.input, inputs), training=False)
            )
        steps, states = [], {}
        for t in range(TRIED_STEPS):
            now = [x[:, t : t + 1] if is_sequence(x) else x for x in inputs]
            try:
                outputs, states = self.step(probe, now, states)
            except Exception as error:
                raise _not_stepwise(self._first_to_fail(made, now)) from error
            steps.append(keras.tree.flatten(outputs))
        layers = [layer for layer, tensors in made for _ in tensors]
        for layer, tensor, at_once, *by_step in zip(layers, tensors, whole, *steps, strict=True):
            if not _agree(tensor, at_once, by_step):
                raise _not_stepwise(layer)
        return {
            name: keras.InputSpec(keras.backend.standardize_dtype(state.dtype), (None, *state.shape[1:]))
            for name, state in states.items()
        }

    def _first_to_fail(self, made, inputs):
        for layer, tensors in made:
            try:
                self.step(keras.Model(self.model.input, tensors), inputs, {})
            except Exception:
                return layer
        return made[-1][0]

    def _check_tokenizer(self):
        config = self.tokenizer.get_config()
        all_masked = all(identifier(place, "output") in self.carried for place in self.layers)
        if (
            config["output_mode"] != "int"
            or config["ngrams"]
            or (config["output_sequence_length"] and not all_masked)
            or not self._cuts_chunks_alike()
        ):
            raise _not_stepwise(self.tokenizer)

    def _cuts_chunks_alike(self):
        """Whether the tokens of a text are those of its words, or characters, one after another."""
        chunks = self.tokenizer.get_vocabulary(include_special_tokens=False)[:2]
        gap = "" if self.tokenizer.get_config()["split"] == "character" else " "
        cut = [self.tokenizer([text])[0] for text in (gap.join(chunks), *chunks)]
        whole, *parts = (ids[ids != 0].numpy().tolist() for ids in cut)
        return whole == list(itertools.chain.from_iterable(parts))


TRIED_STEPS = 4


def one_step(place, layer, before, after, sequences, initial_state, mask, training=False):
    """Stands in for the loop of a recurrent layer: the only step of `sequences`, from the states `before`."""
    start = named_states(place, layer, initial_state)
    _check_called_once(layer, start, after)
    states = [before.get(name, start[name]) for name in start]
    output, new_states = layer.cell(sequences[:, 0], keras.tree.pack_sequence_as(initial_state, states))
    new_states = keras.tree.flatten(new_states)
    if mask is not None:
        counts = keras.tree.flatten(mask)[0][:, 0]
        last = identifier(place, "output")
        blank = ops.zeros_like(output)
        repeated = blank if layer.zero_output_for_mask else before.get(last, blank)
        output = after[last] = where_step(counts, output, repeated)
        new_states = [where_step(counts, new, old) for new, old in zip(new_states, states, strict=True)]
    after.update(zip(start, new_states, strict=True))
    return output, output[:, None], keras.tree.pack_sequence_as(initial_state, new_states)


def pool_one_step(place, layer, before, after, inputs, mask=None):
    """Stands in for a layer that pools over time: the only step of `inputs`, beside the states `before`."""
    prefix = identifier(place, "")
    carried = {name[len(prefix) :]: state for name, state in before.items() if name.startswith(prefix)}
    pooled, carried = pool_step_of(layer)(inputs[:, 0], carried, None if mask is None else mask[:, 0])
    carried = {identifier(place, name): state for name, state in carried.items()}
    _check_called_once(layer, carried, after)
    after.update(carried)
    return pooled


def _check_called_once(layer, states, after):
    if not states.keys().isdisjoint(after):
        raise NotStepwiseError(
            f"The layer {layer.name!r} is called more than once, so its states have no name."
        )


def named_states(place, layer, states):
    cells, flat, named = cells_of(layer), keras.tree.flatten(states), {}
    for k, cell in enumerate(cells):
        count = len(keras.tree.flatten(cell.state_size))
        prefix = place if len(cells) == 1 else f"{place}/{k}"
        named.update(
            {identifier(prefix, name): state for name, state in name_states(cell, flat[:count]).items()}
        )
        flat = flat[count:]
    return named


def _not_stepwise(layer):
    if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
        try:
            Stepper(layer)
        except NotStepwiseError as inner:
            return inner
    return NotStepwiseError(
        f"The model cannot run one step at a time: its layer {layer.name!r} ({type(layer).__name__}) reads "
        f"other steps than the one it is at. Export it without the endpoint 'step'."
    )


def tokenizer_of(model):
    """The `TextVectorization` layer that a model of text begins with, or None."""
    texts = [layer for layer in model.layers if isinstance(layer, keras.layers.TextVectorization)]
    begins = len(texts) == len(model.inputs) == 1 and texts[0].input is model.inputs[0]
    return texts[0] if begins else None


def opened_in_time(model, tokenizer):
    """The model's layers on inputs without a fixed time, and each of them with what it gives there."""
    made = []

    def call(layer, *args, **kwargs):
        if layer is tokenizer:
            return args[0]
        try:
            outputs = layer(*args, **kwargs)
        except Exception as error:
            raise _not_stepwise(layer) from error
        made.append((layer, keras.tree.flatten(outputs)))
        return outputs

    def opened(tensor):
        if tokenizer is not None:
            return keras.Input((None,), dtype="int64", name="tokens")
        shape = (*tensor.shape[:1], None, *tensor.shape[2:]) if is_sequence(tensor) else tensor.shape
        return keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)

    # A model of its own, for clone_model would compile the clone of one that is compiled.
    bare = keras.Model(model.input, model.output, name=model.name)
    inputs = keras.tree.map_structure(opened, bare.input)
    clone = keras.models.clone_model(bare, inputs, clone_function=lambda layer: layer, call_function=call)
    return clone, made


def is_sequence(tensor):
    """Whether an input has time as its second axis, rather than being the features of a whole sequence."""
    rank = len(tensor.shape)
    return rank > 2 or (rank == 2 and (tensor.shape[1] is None or "float" not in str(tensor.dtype)))


def _is_in_time(tensor):
    return len(tensor.shape) > 1 and tensor.shape[1] is None


def _sample(tensor):
    """A random input of the shape and dtype of a symbolic one, with a few steps."""
    rng = np.random.default_rng(0)
    shape = [size or free for size, free in zip(tensor.shape, [2, TRIED_STEPS, *[3] * 9], strict=False)]
    if tensor.dtype == "string":
        return ops.convert_to_tensor(rng.choice(["a", "b"], shape))
    if "float" in tensor.dtype:
        return ops.convert_to_tensor(rng.normal(size=shape), tensor.dtype)
    return ops.convert_to_tensor(rng.integers(0, 2, shape), tensor.dtype)


def _agree(tensor, whole, steps):
    """Whether what a layer gives for a sequence is what it gives step by step, or at the last step."""
    steps = ops.concatenate(steps, axis=1) if _is_in_time(tensor) else steps[-1]
    whole, steps = ops.convert_to_numpy(whole), ops.convert_to_numpy(steps)
    if whole.shape != steps.shape:
        return False
    if "float" not in tensor.dtype:
        return np.array_equal(whole, steps)
    whole, steps = whole.astype("float64"), steps.astype("float64")
    tolerance = {"float16": 1e-2, "bfloat16": 1e-1}.get(tensor.dtype, 1e-4)
    finite = np.abs(whole)[np.isfinite(whole)]
    atol = tolerance * max(1.0, finite.max(initial=0.0))
    return np.allclose(whole, steps, rtol=0, atol=atol, equal_nan=True)


def step_function(stepper):
    """A function of the inputs of one step, then the states before it, in the order of `stepper.carried`."""
    model = stepper.model
    in_time = {name for name, like in named_outputs(model, model.output).items() if _is_in_time(like)}

    def step(*tensors):
        inputs, states = tensors[: len(model.inputs)], tensors[len(model.inputs) :]
        inputs = [
            x[:, None] if is_sequence(like) else x for x, like in zip(inputs, model.inputs, strict=True)
        ]
        outputs, after = stepper.step(model, inputs, dict(zip(stepper.carried, states, strict=True)))
        outputs = named_outputs(model, outputs)
        return {**{name: x[:, 0] if name in in_time else x for name, x in outputs.items()}, **after}

    return step


def tokenize_function(stepper):
    """Texts to tokens, `(batch, time)`, as wide as the longest text and filled up with zeros."""

    def tokenize(texts):
        tokens = stepper.tokenizer(texts)
        longest = ops.sum(ops.cast(ops.any(tokens != 0, axis=0), "int32"))
        return {"tokens": tokens[:, :longest]}

    return tokenize
