"""write and stream: a Keras model that hears what it said goes on by itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras

from keras_gates._arguments import check_size
from keras_gates.writing.hand import hand_of, seeded, stops_of
from keras_gates.writing.strategies import Beam, Greedy, Sampling, strategy_of
from keras_gates.writing.written import Written


def write(
    model: keras.Model,
    *,
    over: str | None = None,
    context: Any = None,
    prompt: Any = None,
    start: Any = None,
    stop: Any = None,
    length: int = 100,
    how: str | Greedy | Sampling | Beam = "greedy",
    output: str | None = None,
    head: Any = None,
    vocabulary: Any = None,
    state: dict[str, Any] | None = None,
) -> Written:
    """Let a model write: choose value after value, and hear each as the next input.

    Whatever the model reads beside what it hears (a sentence, a picture) is computed once, and no part of the
    text is read twice: the states of the recurrent layers are carried.

        written = keras_gates.write(model, over="said", context=sentences, start=1, stop=2, how="beam")
        written.tokens, written.lengths, written.alignments

    Args:
        model: a built functional or sequential Keras model, which gives at each step what comes next.
        over: the name of the input that hears what was written; the only sequence by default. It hears
            tokens, or one-hot vectors as long as the output has classes, or values of another kind.
        context: the other inputs, whole: a dict of arrays by name, or the array of the only one.
        prompt: what each row has heard before it writes: a list of lists of tokens, which may be of different
            lengths; an array `(batch, time)` or `(batch, time, …)`; or, where a `TextVectorization` takes
            them apart, a list of strings or a string.
        start: a token that is heard first, before the prompt; or its name in the vocabulary.
        stop: the token that ends a text, or several; or their names in the vocabulary. None: all rows are
            written to the full length.
        length: how many tokens to write at most.
        how: `"greedy"`, `"sampling"`, `"beam"`, or a `keras_gates.Greedy`, `Sampling` or `Beam`.
        output: the name of the output that says what comes next, where several depend on `over`.
        head: how a value is drawn, an object as in `keras_gates.writing.heads`. By default what the
            activation of the last layer says: softmax gives the probabilities of classes, sigmoid those of
            yes-or-no values, and anything else the logits of classes.
        vocabulary: the words by number: a `TextVectorization` or `StringLookup`, or a list. By default that
            of the `TextVectorization` through which the model hears, if it does.
        state: the `state` of an earlier `Written`, to go on from there, in place of `context`. A row that has
            stopped stays so, unless it is given a prompt.

    Returns:
        A `keras_gates.writing.Written`.

    Raises:
        ValueError: an argument is wrong, or nothing depends on `over`; one sentence.
        keras_gates.opened.NotStepwiseError: the model reads ahead, so it cannot write; a ValueError too.
    """
    length, how = check_size("length", length), seeded(strategy_of(how))
    hand, state = _begun(model, over, output, head, how, stop, vocabulary, state, context, prompt, start)
    return hand.write(state, length, how)


def stream(
    model: keras.Model,
    *,
    over: str | None = None,
    context: Any = None,
    prompt: Any = None,
    start: Any = None,
    stop: Any = None,
    length: int = 100,
    how: str | Greedy | Sampling | Beam = "greedy",
    output: str | None = None,
    head: Any = None,
    vocabulary: Any = None,
    state: dict[str, Any] | None = None,
) -> Iterator[Written]:
    """`write` that yields as it writes: for each step a `Written` of one token, `(batch, 1)`.

    Joined, the steps are what `write` gives with the same seed. A row that has stopped has the length zero.
    Arguments as `write`, but for a beam search, which knows its first word only at the end.
    """
    length, how = check_size("length", length), seeded(strategy_of(how))
    if isinstance(how, Beam):
        raise ValueError(
            "A beam search cannot stream: it knows its first token only at the end. Use `write`."
        )
    hand, state = _begun(model, over, output, head, how, stop, vocabulary, state, context, prompt, start)
    return _steps(hand, state, length, how)


def _steps(hand, state, length, how):
    for _ in range(length):
        written = hand.write(state, 1, how)
        yield written
        if written.stopped.all():
            return
        state = written.state


def _begun(model, over, output, head, how, stop, vocabulary, state, context, prompt, start):
    """The hand that writes so, and the state from which it goes on."""
    if isinstance(how, Sampling):  # what is no part of the compiled functions
        how = replace(how, seed=None, temperature=1.0)
    if isinstance(vocabulary, list):
        vocabulary = tuple(vocabulary)
    hand = hand_of(model, over, output, head, how, stops_of(stop), vocabulary)
    if state is None:
        return hand, hand.begin(context, prompt, start)
    return hand, hand.go_on(state, context, prompt, start)
