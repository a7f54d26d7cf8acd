"""A `Writer` for arrays and strings: it checks what is given, and says what was written."""

import functools
import random
from collections.abc import Iterable
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from keras_gates.layers.stepping import cells_of, identifier, levels_by_place
from keras_gates.opened import Opened
from keras_gates.opened.whole import listed
from keras_gates.writing.heads import Categorical, head_of
from keras_gates.writing.strategies import Beam, Sampling
from keras_gates.writing.vocabulary import vocabulary_of
from keras_gates.writing.writer import ALIGNMENT, Writer
from keras_gates.writing.written import Written


class Hand:
    """A `Writer` for arrays and strings, compiled. Kept, it serves every length of prompt and every batch.

    Args:
        opened: the model as `opened_to_write` gives it.
        output, head, how, stop, vocabulary: as in `keras_gates.write`.

    Attributes:
        writer: the `Writer`.
        vocabulary: the `Vocabulary` of what is written, or None.
        places: the places of the cells that may attend by the names of their alignments.
    """

    def __init__(self, opened, output=None, head=None, how=None, stop=(), vocabulary=None):
        self.opened = opened
        self.vocabulary = vocabulary_of(opened, vocabulary)
        output = _checked_output(opened, output)
        head = _restricted(head or head_of(_last_layer(opened, output)), how)
        self.classes = opened.whole.outputs[output].shape[-1] if isinstance(head, Categorical) else None
        _check_vocabulary(self.vocabulary, self.classes)
        stop = [self.token("stop", each) for each in stop]
        _check_classes(stop, self.classes, head, how)
        self.writer = Writer(opened, output, head, how, stop)
        self.places = {
            identifier(level) + ALIGNMENT: level
            for place, layer in opened.recurrent.items()
            for level in levels_by_place(place, cells_of(layer))
        }
        self.known = self._known()
        self._start, self._hear, self._write = _compiled(self.writer)

    @property
    def tokenizer(self):
        """The `TextVectorization` that takes prompts apart, or None."""
        return None if self.vocabulary is None else self.vocabulary.tokenizer

    def _known(self):
        """How many tokens the model knows: those of the embedding that hears them; None if nothing says."""
        if self.writer.one_hot:
            return self.classes
        entering = {id(self.opened.whole.inputs[name]) for name in self.opened.whole.stepped}
        sizes = [
            call.layer.input_dim
            for call in self.opened.whole.calls
            if isinstance(call.layer, keras.layers.Embedding) and any(id(x) in entering for x in call.given)
        ]
        return min(sizes, default=None)

    # -- what is given

    def begin(self, context, prompt, start):
        """The state after a context and a prompt."""
        context = self._named_context(context)
        rows = next((len(values) for values in context.values()), None)
        prompt, lengths = self._padded(self._rows(prompt, start, rows))
        if not lengths.all():
            raise ValueError("Nothing would be heard: give `start`, or a `prompt` in which no row is empty.")
        for name, values in context.items():
            if len(values) != len(lengths):
                raise ValueError(f"The context {name!r} has {len(values)} rows, the prompt {len(lengths)}.")
        state = self._start(context, ops.convert_to_tensor(prompt[:, 0]))
        return self._heard(state, prompt[:, 1:], lengths - 1)

    def go_on(self, state, context, prompt, start):
        """The state after an earlier one and a prompt."""
        if context is not None:
            raise ValueError("Give `context` or `state`, not both: a state holds the context that it had.")
        if not isinstance(state, dict) or state.keys() != self.writer.state.keys():
            given = listed(state) if isinstance(state, dict) else type(state).__name__
            raise ValueError(f"`state` must be that of a Written of this model; got {given}.")
        state = {
            name: ops.convert_to_tensor(state[name], like.dtype) for name, like in self.writer.state.items()
        }
        rows = len(state["pending"])
        prompt, lengths = self._padded(self._rows(prompt, start, rows))
        if len(lengths) != rows:
            raise ValueError(f"The state has {rows} rows, the prompt {len(lengths)}.")
        return self._heard(state, prompt, lengths) if lengths.any() else state

    def _heard(self, state, prompt, lengths):
        if not prompt.shape[1]:
            return state
        return self._hear(state, ops.convert_to_tensor(prompt), ops.convert_to_tensor(lengths))

    def _named_context(self, context):
        like = self.opened.steps.context_inputs
        if context is None:
            context = {}
        elif not isinstance(context, dict):
            if len(like) != 1:
                raise ValueError(
                    f"`context` must be a dict with the names {listed(like) or 'none'}; "
                    f"got {type(context).__name__}."
                )
            context = {next(iter(like)): context}
        if context.keys() != like.keys():
            raise ValueError(
                f"`context` must have the names {listed(like) or 'none'}; got {listed(context) or 'none'}."
            )
        return {name: _checked_context(name, context[name], like[name]) for name in like}

    def _rows(self, prompt, start, rows):
        """The prompt of each row, a list of values."""
        if prompt is None:
            prompt = [[]] * (rows or 1)
        elif isinstance(prompt, str):
            prompt = [prompt]
        if len(prompt) and all(isinstance(row, str) for row in prompt):
            if self.vocabulary is None:
                raise ValueError("`prompt` must be tokens, not strings: the model has no vocabulary.")
            prompt = self.vocabulary.tokens(prompt)
        if any(np.ndim(row) == 0 for row in prompt):
            raise ValueError(f"`prompt` must have a list of tokens for each row; got {_short(prompt)}.")
        first = [] if start is None else [self.first(start)]
        return [[*first, *row] for row in prompt]

    def first(self, start):
        """The value that is heard first, from the argument `start`."""
        return self._checked_values([self.token("start", start)], self.writer.value.shape[1:])[0]

    def _padded(self, rows):
        """What is heard, `(batch, time, …)`, filled up with zeros, and how many values of each row count."""
        lengths = np.array([len(row) for row in rows], "int32")
        shape = self.writer.value.shape[1:]
        padded = np.zeros((len(rows), lengths.max(initial=0), *shape), self.writer.value.dtype)
        for k, row in enumerate(rows):
            if row:
                padded[k, : len(row)] = self._checked_values(row, shape)
        return padded, lengths

    def _checked_values(self, row, shape):
        values = _as_array(row)
        if values.shape != (len(row), *shape) or not np.issubdtype(values.dtype, np.number):
            wanted = f"arrays of the shape {shape}" if shape else "whole numbers"
            raise ValueError(f"The values of `prompt` must be {wanted}; got {_short(row)}.")
        if self.classes is not None:
            if not np.array_equal(values, values.astype("int64")):
                raise ValueError(f"The tokens of `prompt` must be whole numbers; got {_short(row)}.")
            if values.min() < 0 or (self.known is not None and values.max() >= self.known):
                known = "" if self.known is None else f" to {self.known - 1}"
                raise ValueError(f"The tokens that are heard must be from 0{known}; got {_short(row)}.")
        return values

    def token(self, argument, value):
        """The number of a token, given as such or by its name in the vocabulary."""
        if not isinstance(value, str):
            return value
        if self.vocabulary is None:
            raise ValueError(f"`{argument}` must be a number, as the model has no vocabulary; got {value!r}.")
        return self.vocabulary.number(argument, value)

    # -- what is written

    def write(self, state, length, how):
        """A `Written` of at most `length` values, from a state on."""
        options = []
        if isinstance(how, Sampling):
            options = [
                ops.convert_to_tensor(how.seed, "int32"),
                ops.convert_to_tensor(how.temperature, "float32"),
            ]
        found, state = self._write(state, ops.convert_to_tensor(length, "int32"), *options)
        found = keras.tree.map_structure(ops.convert_to_numpy, found)
        if isinstance(self.writer.how, Beam) and self.writer.how.n_best == 1:
            found = {name: x[:, 0] for name, x in found.items()}
        alignments = {self.places[name]: found.pop(name) for name in self.places if name in found}
        text = self.vocabulary and self.vocabulary.text(found["tokens"], found["lengths"])
        return Written(**found, alignments=alignments, text=text, state=state)


@functools.lru_cache(maxsize=8)
def opened_to_write(model, over=None):
    """The model, opened over the input that hears what was written, and kept for the next call."""
    opened = Opened(model, over)
    stepped = opened.whole.stepped
    if len(stepped) > 1:
        raise ValueError(f"`over` must say which input hears what was written: one of {listed(stepped)}.")
    return opened


@functools.lru_cache(maxsize=16)
def hand_of(model, over, output, head, how, stop, vocabulary):
    """The `Hand` that writes so; it is kept for the next call."""
    return Hand(opened_to_write(model, over), output, head, how, stop, vocabulary)


def stops_of(stop):
    """The argument `stop` as a tuple."""
    if stop is None:
        return ()
    return tuple(stop) if isinstance(stop, Iterable) and not isinstance(stop, str) else (stop,)


def seeded(how):
    """The strategy with a seed, if it needs one and has none."""
    if isinstance(how, Sampling) and how.seed is None:
        return replace(how, seed=random.randrange(2**31))
    return how


def _compiled(writer):
    """`start`, `hear` and `write` of a writer; on TensorFlow each a graph, for all sizes."""
    if keras.backend.backend() != "tensorflow":
        return writer.start, writer.hear, writer.write
    import tensorflow as tf

    def spec(like):
        return tf.TensorSpec(like.shape, like.dtype)

    state = {name: spec(like) for name, like in writer.state.items()}
    inputs = {name: spec(like) for name, like in writer.opened.steps.context_inputs.items()}
    lengths, number = tf.TensorSpec([None], "int32"), tf.TensorSpec([], "int32")
    prompt = tf.TensorSpec([None, None, *writer.value.shape[1:]], writer.value.dtype)
    options = [number, tf.TensorSpec([], "float32")] if isinstance(writer.how, Sampling) else []
    signatures = {
        writer.start: [inputs, spec(writer.value)],
        writer.hear: [state, prompt, lengths],
        writer.write: [state, number, *options],
    }
    return [_graph(run, signature) for run, signature in signatures.items()]


def _graph(run, signature):
    import tensorflow as tf

    # TensorFlow warns of functions that are often traced, and counts a method for all objects that have it.
    def graph(*arguments):
        return run(*arguments)

    return tf.function(graph, signature, autograph=False)


def _checked_context(name, given, like):
    if ops.is_tensor(given):
        values, is_text = given, given.dtype == "string"
    else:
        values = _as_array(given)
        is_text = values.dtype.kind in "OSU"
    if is_text != (like.dtype == "string"):
        raise ValueError(f"The context {name!r} must be an array of {like.dtype}; got {_short(given)}.")
    values = ops.convert_to_tensor(values, like.dtype)
    shape = tuple(values.shape)
    if len(shape) != len(like.shape) or any(
        want not in (None, size) for want, size in zip(like.shape, shape, strict=True)
    ):
        raise ValueError(f"The context {name!r} must have the shape {like.shape}; got {shape}.")
    return values


def _checked_output(opened, output):
    outputs = opened.steps.outputs
    if output is None and len(outputs) == 1:
        return outputs[0]
    if output not in outputs:
        raise ValueError(f"`output` must be one of {listed(outputs)}; got {output!r}.")
    return output


def _last_layer(opened, output):
    """The layer that gives an output."""
    wanted = opened.whole.outputs[output]
    (layer,) = {call.layer for call in opened.whole.calls if any(x is wanted for x in call.tensors)}
    return layer


def _restricted(head, how):
    """The head, drawing only what the strategy allows."""
    if not isinstance(how, Sampling) or (how.top_k is None and how.top_p is None):
        return head
    if not isinstance(head, Categorical):
        raise ValueError(f"`top_k` and `top_p` are for classes, which {type(head).__name__} does not give.")
    return replace(head, top_k=how.top_k, top_p=how.top_p)


def _check_vocabulary(vocabulary, classes):
    if vocabulary is not None and classes is not None and len(vocabulary.words) < classes:
        raise ValueError(
            f"`vocabulary` must have a word for each of the {classes} classes; got {len(vocabulary.words)}."
        )


def _check_classes(stop, classes, head, how):
    if classes is None and (stop or isinstance(how, Beam)):
        what = "`stop` is" if stop else "A beam search is"
        raise ValueError(f"{what} for classes, which {type(head).__name__} does not give.")
    suppressed = set(getattr(head, "suppress", ()))
    if suppressed and not suppressed < set(range(classes)):
        raise ValueError(
            f"`suppress` must be some of the classes from 0 to {classes - 1}, not all; "
            f"got {_short(head.suppress)}."
        )
    for token in stop:
        if isinstance(token, bool) or not isinstance(token, (int, np.integer)) or not 0 <= token < classes:
            raise ValueError(f"`stop` must be classes from 0 to {classes - 1}; got {token!r}.")


def _as_array(values):
    try:
        return np.asarray(values)
    except ValueError:  # parts of different lengths
        return np.asarray(None)


def _short(value):
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
