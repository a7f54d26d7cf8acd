"""write and stream: a Keras model that hears what it said goes on by itself."""

import functools
import secrets
from dataclasses import dataclass, field, replace

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import check_size
from keras_gates.opened import Opened
from keras_gates.writing.heads import Categorical, head_of
from keras_gates.writing.strategies import Beam, Sampling, strategy_of
from keras_gates.writing.writer import ALIGNMENT, Writer


@dataclass(frozen=True)
class Written:
    """What a model wrote, as NumPy arrays; after a beam search each has an axis `n_best` after the batch.

    Attributes:
        tokens: the classes, `(batch, time)`, or values of a head of another kind, `(batch, time, …)`; zeros
            after the end of a row.
        lengths: how many tokens of each row are written, without the stop token, `(batch,)`.
        scores: log p of what was written, the stop token included, under the model itself (without
            temperature or restrictions), `(batch,)`; of a beam, with its length penalty.
        stopped: whether a row ended with a stop token, `(batch,)`.
        alignments: by the place of each layer that attends, where it looked as each token was chosen,
            `(batch, time, J)`.
        text: the texts, if the model's vocabulary is known (it hears through `TextVectorization`): a list of
            strings, or of lists of strings; else None.
        state: what `write(…, state=)` takes to go on; None after a beam search.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    stopped: np.ndarray
    alignments: dict
    text: list | None = None
    state: dict | None = field(default=None, repr=False)


def write(
    model, *, over=None, context=None, prompt=None, start=None, stop=None, length=100, how="greedy",
    output=None, head=None, state=None,
):  # fmt: skip
    """Let a model write: choose value after value, and hear each as the next input.

    Whatever the model reads beside what it hears (a sentence, a picture) is computed once, and no part of the
    text is read twice: the states of the recurrent layers are carried.

        written = keras_gates.write(model, over="said", context=sentences, start=1, stop=2, how="beam")
        written.tokens, written.lengths, written.alignments

    Args:
        model: a built functional or sequential Keras model, which gives at each step what comes next.
        over: the name of the input that hears what was written; the only sequence by default.
        context: the other inputs, whole: a dict of arrays by name, or the array of the only one.
        prompt: what each row has heard before it writes: a list of lists of tokens, which may be of different
            lengths; an array `(batch, time)` or `(batch, time, …)`; or, where the input passes
            `TextVectorization`, a list of strings or a string.
        start: a token that is heard first, before the prompt; or its name in the vocabulary.
        stop: the token that ends a text, or several; or their names in the vocabulary. None: all rows are
            written to the full length.
        length: how many tokens to write at most.
        how: `"greedy"`, `"sampling"`, `"beam"`, or a `keras_gates.Greedy`, `Sampling` or `Beam`.
        output: the name of the output that says what comes next, where several depend on `over`.
        head: how a value is drawn, an object as in `keras_gates.writing.heads`. By default what the
            activation of the last layer says: softmax gives the probabilities of classes, sigmoid those of
            yes-or-no values, and anything else the logits of classes.
        state: the `state` of an earlier `Written`, to go on from there.

    Returns:
        A `Written`.

    Raises:
        ValueError: an argument is wrong, or nothing depends on `over`; one sentence.
        keras_gates.opened.NotStepwiseError: the model reads ahead, so it cannot write; a ValueError too.
    """
    how = strategy_of(how)
    hand = _hand(model, over, output, head, how, stop)
    return hand.write(hand.given(context, prompt, start, state), check_size("length", length), how)


def stream(
    model, *, over=None, context=None, prompt=None, start=None, stop=None, length=100, how="greedy",
    output=None, head=None, state=None,
):  # fmt: skip
    """`write` that yields as it writes: for each step a `Written` of one token, `(batch, 1)`.

    Joined, the steps are what `write` gives with the same seed. A row that has stopped has the length zero.
    Arguments as `write`, but for a beam search, which knows its first word only at the end.
    """
    how = strategy_of(how)
    if isinstance(how, Beam):
        raise ValueError(
            "A beam search cannot stream: it knows its first token only at the end. Use `write`."
        )
    hand = _hand(model, over, output, head, how, stop)
    given = hand.given(context, prompt, start, state)
    done = None
    how = _seeded(how)
    for _ in range(check_size("length", length)):
        written = hand.write(given, 1, how)
        done = written.stopped if done is None else done | written.stopped
        yield replace(written, lengths=np.where(done, 0, written.lengths), stopped=done)
        if done.all():
            return
        given = hand.going_on(given, written.state)


# -- what is given, and what is made of it


def _hand(model, over, output, head, how, stop):
    """The `_Hand` that writes so; it is kept for the next call."""
    stop = () if stop is None else tuple(stop) if isinstance(stop, (list, tuple)) else (stop,)
    return _kept_hand(model, over, output, head, _without_seed(how), stop)


@functools.lru_cache(maxsize=8)
def _kept_hand(model, over, output, head, how, stop):
    return _Hand(model, over, output, head, how, stop)


def _without_seed(how):
    """The strategy without what a call may change: these are tensors of the compiled function."""
    return replace(how, seed=None, temperature=1.0) if isinstance(how, Sampling) else how


def _seeded(how):
    if isinstance(how, Sampling) and how.seed is None:
        return replace(how, seed=secrets.randbits(31))
    return how


class _Hand:
    """A `Writer` for arrays and strings, compiled.

    Attributes:
        vocabulary: the words by number, of a model that hears through `TextVectorization`; else None.
    """

    def __init__(self, model, over, output, head, how, stop):
        self.opened = opened_to_write(model, over)
        self.vocabulary = vocabulary_of(self.opened)
        output = _checked_output(self.opened, output)
        head = head or head_of(last_layer(self.opened, output))
        self.writer = Writer(
            self.opened, output, restricted(head, how), how, [self.token("stop", each) for each in stop]
        )
        self.run = self.writer.run
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self.run = tf.function(self.writer.run, autograph=False, reduce_retracing=True)

    # -- what is given

    def given(self, context, prompt, start, state):
        """The arguments of `Writer.run` that a call starts with."""
        context = self.opened.context(self._named_context(context))
        rows = _batch_of([*context.values(), *(state or {}).values()])
        prompt, lengths = self._prompt(prompt, start, rows, state)
        rows = len(lengths)
        for values in context.values():
            if values.shape[0] != rows:
                raise ValueError(f"The context has {values.shape[0]} rows and the prompt {rows}.")
        if state is None:
            carried = self.writer.start(context, rows)
        else:
            carried = {name: ops.convert_to_tensor(value) for name, value in state.items()}
        return {
            "context": context,
            "carried": carried,
            "prompt": ops.convert_to_tensor(prompt),
            "prompt_lengths": ops.convert_to_tensor(lengths, "int32"),
        }

    def going_on(self, given, state):
        """The arguments of the call after that which gave `state`."""
        carried = {name: ops.convert_to_tensor(value) for name, value in state.items()}
        return {
            **given,
            "carried": carried,
            "prompt": given["prompt"][:, :0],
            "prompt_lengths": given["prompt_lengths"] * 0,
        }

    def _named_context(self, context):
        names = list(self.opened.steps.context_inputs)
        if context is None:
            context = {}
        if not isinstance(context, dict):
            if len(names) != 1:
                raise ValueError(f"`context` must be a dict of {names}; got {type(context).__name__}.")
            context = {names[0]: context}
        like = self.opened.steps.context_inputs
        return {
            name: ops.convert_to_tensor(value, like[name].dtype) if name in like else value
            for name, value in context.items()
        }

    def _prompt(self, prompt, start, rows, state):
        """What is heard first, `(batch, time, …)`, filled up with zeros, and how much of each row counts."""
        tokens = self._rows_of(prompt)
        if tokens is None:
            tokens = [[]] * (rows or 1)
        if start is not None:
            first = self.token("start", start)
            tokens = [[first, *row] for row in tokens]
        lengths = np.array([len(row) for row in tokens], "int32")
        if state is None and not lengths.all():
            raise ValueError("Nothing would be heard: give `start`, or a `prompt` in which no row is empty.")
        spec = self.opened.steps.inputs[self.writer.heard]
        padded = np.zeros((len(tokens), lengths.max(initial=0), *spec.shape[1:]), spec.dtype)
        for row, values in enumerate(tokens):
            padded[row, : len(values)] = np.reshape(values, (-1, *spec.shape[1:]))
        return padded, lengths

    def _rows_of(self, prompt):
        if prompt is None:
            return None
        if isinstance(prompt, str):
            prompt = [prompt]
        if all(isinstance(row, str) for row in prompt):
            return self._tokenized(prompt)
        return [list(row) for row in prompt]

    def _tokenized(self, texts):
        tokenizer = self.opened.whole.tokenizer
        if tokenizer is None:
            raise ValueError("`prompt` must be tokens, not strings: the model hears numbers.")
        ids = ops.convert_to_numpy(tokenizer(ops.convert_to_tensor(list(texts))))
        return [row[row != 0].tolist() for row in ids]

    def token(self, argument, value):
        """The number of a token, given as such or by its name in the vocabulary."""
        if not isinstance(value, str):
            return value
        if self.vocabulary is None:
            raise ValueError(f"`{argument}` must be a number, as the model hears numbers; got {value!r}.")
        if value not in self.vocabulary:
            raise ValueError(f"`{argument}` must be in the model's vocabulary; got {value!r}.")
        return self.vocabulary.index(value)

    # -- what is written

    def write(self, given, length, how):
        how = _seeded(how)
        options = {"length": ops.convert_to_tensor(length, "int32")}
        if isinstance(how, Sampling):
            options["seed"] = ops.convert_to_tensor(how.seed, "int32")
            options["temperature"] = ops.convert_to_tensor(how.temperature, "float32")
        found = self.run(**given, **options)
        state = found.pop("carried", None)
        found = keras.tree.map_structure(ops.convert_to_numpy, found)
        if isinstance(self.writer.how, Beam) and self.writer.how.n_best == 1:
            found = {name: x[:, 0] for name, x in found.items()}
        alignments = {
            name.removesuffix(ALIGNMENT): found.pop(name) for name in list(found) if name.endswith(ALIGNMENT)
        }
        return Written(
            **found,
            alignments=alignments,
            text=None if self.vocabulary is None else self._text(found["tokens"], found["lengths"]),
            state=state and keras.tree.map_structure(ops.convert_to_numpy, state),
        )

    def _text(self, tokens, lengths):
        if np.ndim(lengths):
            return [self._text(*each) for each in zip(tokens, lengths, strict=True)]
        gap = "" if self.opened.whole.tokenizer.get_config()["split"] == "character" else " "
        return gap.join(self.vocabulary[token] for token in tokens[:lengths])


def opened_to_write(model, over):
    """The model, opened over the input that hears what was written."""
    opened = Opened(model, over)
    stepped = list(opened.steps.inputs)
    if len(stepped) != 1:
        raise ValueError(
            f"`over` must say which input hears what was written: one of {', '.join(map(repr, stepped))}."
        )
    return opened


def _checked_output(opened, output):
    outputs = opened.steps.outputs
    if output is None and len(outputs) == 1:
        return outputs[0]
    if output not in outputs:
        raise ValueError(f"`output` must be one of {', '.join(map(repr, outputs))}; got {output!r}.")
    return output


def last_layer(opened, output):
    """The layer that gives an output."""
    wanted = opened.whole.outputs[output]
    (layer,) = {call.layer for call in opened.whole.calls if any(x is wanted for x in call.tensors)}
    return layer


def restricted(head, how):
    """The head, drawing only what the strategy allows."""
    if not isinstance(how, Sampling) or (how.top_k is None and how.top_p is None):
        return head
    if not isinstance(head, Categorical):
        raise ValueError(f"`top_k` and `top_p` are for classes, which {type(head).__name__} does not give.")
    return replace(head, top_k=how.top_k, top_p=how.top_p)


def vocabulary_of(opened):
    """The words by number that a model hears through `TextVectorization`, or None."""
    tokenizer = opened.whole.tokenizer
    return None if tokenizer is None else tokenizer.get_vocabulary()


def _batch_of(tensors):
    return tensors[0].shape[0] if tensors else None
