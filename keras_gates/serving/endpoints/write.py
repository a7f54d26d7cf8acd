"""The endpoints of a model that writes: `write`, and to write piece by piece `write_begin` and `write_on`."""

import inspect

import keras
from keras import ops

from keras_gates.serving.endpoints import Endpoint
from keras_gates.writing.hand import Hand, opened_to_write, stops_of
from keras_gates.writing.strategies import Beam, Sampling, strategy_of


def hand_to_export(model, options):
    """The `Hand` for the argument `write` of `keras_gates.export`, and what is heard first, or None.

    Raises:
        ValueError, keras_gates.opened.NotStepwiseError: as in `keras_gates.write`.
    """
    known = list(inspect.signature(_hand).parameters)[1:]
    if not isinstance(options, dict) or not set(options) <= set(known):
        given = ", ".join(map(repr, options)) if isinstance(options, dict) else type(options).__name__
        raise ValueError(f"`write` must be a dict of {', '.join(map(repr, known))}; got {given}.")
    return _hand(model, **options)


def _hand(model, over=None, start=None, stop=None, how="greedy", output=None, head=None, vocabulary=None):
    hand = Hand(opened_to_write(model, over), output, head, strategy_of(how), stops_of(stop), vocabulary)
    return hand, None if start is None else hand.first(start)


def endpoints(hand, first):
    """`write`; and but for a beam search `write_begin` and `write_on`, the state out and in.

    Args:
        hand: a `keras_gates.writing.hand.Hand`.
        first: the token that is heard before the prompt, or None.
    """
    made = {"write": write(hand, first)}
    if isinstance(hand.writer.how, Beam):
        return made
    return {**made, "write_begin": write_begin(hand, first), "write_on": write_on(hand)}


def write(hand, first):
    """Context and prompt to what is written."""
    given, options = _given(hand), _options(hand)
    clash = given["context"].keys() & (given["prompt"] | options).keys()
    if clash:
        raise ValueError(f"To write, the model's input {clash.pop()!r} must have another name.")

    def function(*tensors):
        named = dict(zip([*given["context"], *given["prompt"], *options], tensors, strict=True))
        state = _begin(hand, first, {name: named[name] for name in given["context"]}, named)
        return _written(hand, state, named)[0]

    return Endpoint(function, {**given["context"], **given["prompt"], **options})


def write_begin(hand, first):
    """Context and prompt to the state after them."""
    given = _given(hand)

    def function(*tensors):
        named = dict(zip([*given["context"], *given["prompt"]], tensors, strict=True))
        return _begin(hand, first, {name: named[name] for name in given["context"]}, named)

    return Endpoint(function, {**given["context"], **given["prompt"]})


def write_on(hand):
    """A state to what is written from there, and the state after it."""
    state, options = hand.writer.state, _options(hand)

    def function(*tensors):
        named = dict(zip([*state, *options], tensors, strict=True))
        found, after = _written(hand, {name: named[name] for name in state}, named)
        return {**found, **after}

    return Endpoint(function, {**state, **options})


def _given(hand):
    value = hand.writer.value
    if hand.tokenizer is not None:
        prompt = {"prompt": keras.InputSpec("string", (None,))}
    else:
        prompt = {
            "prompt": keras.InputSpec(value.dtype, (None, None, *value.shape[1:])),
            "prompt_lengths": keras.InputSpec("int32", (None,)),
        }
    return {"context": hand.opened.steps.context_inputs, "prompt": prompt}


def _options(hand):
    options = {"length": keras.InputSpec("int32", ())}
    if isinstance(hand.writer.how, Sampling):
        options["temperature"] = keras.InputSpec("float32", ())
        options["seed"] = keras.InputSpec("int32", ())
    return options


def _begin(hand, first, context, named):
    import tensorflow as tf

    prompt = named["prompt"]
    if hand.tokenizer is not None:
        prompt = ops.cast(hand.tokenizer(prompt), hand.writer.value.dtype)
        lengths = ops.sum(ops.cast(prompt != 0, "int32"), axis=-1)
    else:
        lengths = named["prompt_lengths"]
    if first is not None:
        before = ops.broadcast_to(ops.cast(first, prompt.dtype), (ops.shape(prompt)[0], 1, *prompt.shape[2:]))
        prompt, lengths = ops.concatenate([before, prompt], axis=1), lengths + 1
    check = tf.debugging.assert_positive(lengths, "Nothing would be heard: no prompt may be empty.")
    with tf.control_dependencies([] if check is None else [check]):
        lengths = tf.identity(lengths)
    state = hand.writer.start(context, prompt[:, 0])
    return hand.writer.hear(state, prompt[:, 1:], lengths - 1)


def _written(hand, state, named):
    options = {name: named[name] for name in ("temperature", "seed") if name in named}
    found, state = hand.writer.write(state, named["length"], **options)
    if isinstance(hand.writer.how, Beam) and hand.writer.how.n_best == 1:
        found = {name: x[:, 0] for name, x in found.items()}
    if hand.vocabulary is not None:
        found["text"] = _joined(hand.vocabulary, found["tokens"], found["lengths"])
    return found, state


def _joined(vocabulary, tokens, lengths):
    """The texts of tokens `(…, time)`, of which `lengths` count."""
    import tensorflow as tf

    words = tf.gather(tf.constant(vocabulary.words), tf.cast(tokens, "int32"))
    place = tf.range(tf.shape(tokens)[-1])
    words = tf.where(place > 0, vocabulary.gap + words, words)
    words = tf.where(place < lengths[..., None], words, "")
    return tf.strings.reduce_join(words, axis=-1)
