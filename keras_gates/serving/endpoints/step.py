"""The endpoints of a model that runs step by step: `step`, `initial_state`, and for text `tokenize`."""

import itertools

import keras
from keras import ops

from keras_gates.layers.stepping import identifier, plain_loops
from keras_gates.layers.text import gap_of, split_words_and_marks
from keras_gates.opened.whole import NotStepwiseError, not_stepwise
from keras_gates.serving.endpoints import Endpoint


def endpoints(opened):
    """`step`, `initial_state`, and for a model that begins with text `tokenize`.

    Raises:
        NotStepwiseError: a layer reads steps other than the current one, or starts from a state that
            depends on an input that is not a sequence; or the tokens of a text are not those of its parts.
        UnreadableModelError: nothing in the model is recurrent.
    """
    made = {"step": step(opened), "initial_state": initial_state(opened)}
    return made | ({"tokenize": tokenize(opened)} if opened.whole.tokenizer else {})


def step(opened):
    """From one step and the states before it, the outputs and the states after it.

    An input that is not a sequence is passed with every step.
    """
    opened.check_recurrent()
    steps = opened.steps
    if steps.starts_from_context:
        raise NotStepwiseError(
            f"The model {opened.model.name!r} starts from states that depend on its inputs "
            f"{', '.join(map(repr, steps.context_inputs))}, which the endpoint 'step' cannot take."
        )
    sequences, others, carried = steps.inputs, steps.context_inputs, steps.carried
    inputs = {name: sequences.get(name, like) for name, like in opened.whole.inputs.items()}

    def function(*tensors):
        given = dict(zip([*inputs, *carried], tensors, strict=True))
        with plain_loops(opened.recurrent.values()):
            context = opened.context({name: given[name] for name in others})
        now, states = ({name: given[name] for name in names} for names in (sequences, carried))
        outputs, states = opened.step(now, states, context)
        return {**outputs, **states}

    return Endpoint(function, {**inputs, **carried})


def initial_state(opened):
    """The states before the first step, for a number of sequences."""

    def function(batch_size):
        return opened.initial_states(batch_size=batch_size)

    return Endpoint(function, {"batch_size": keras.InputSpec("int32", ())})


def tokenize(opened):
    """From texts, their tokens, `(batch, time)`, padded with zeros to the longest text."""
    tokenizer = opened.whole.tokenizer
    _check_tokenizer(tokenizer, opened)

    def function(texts):
        tokens = tokenizer(texts)
        longest = ops.sum(ops.cast(ops.any(tokens != 0, axis=0), "int32"))
        return {"tokens": tokens[:, :longest]}

    return Endpoint(function, opened.inputs)


def _check_tokenizer(tokenizer, opened):
    config = tokenizer.get_config()
    all_masked = all(identifier(place, "output") in opened.steps.carried for place in opened.steps.recurrent)
    if (
        config["output_mode"] != "int"
        or config["ngrams"]
        or (config["output_sequence_length"] and not all_masked)
        or not _cuts_chunks_alike(tokenizer)
    ):
        raise not_stepwise(tokenizer)


def _cuts_chunks_alike(tokenizer):
    """Whether the tokens of a text are those of its words, or characters, one after another."""
    config = tokenizer.get_config()
    if config["split"] is split_words_and_marks and config["standardize"] is None:
        return True  # at the ends of its tokens a text may be cut, by definition
    chunks = tokenizer.get_vocabulary(include_special_tokens=False)[:2]
    cut = [tokenizer([text])[0] for text in (gap_of(tokenizer).join(chunks), *chunks)]
    whole, *parts = (ids[ids != 0].numpy().tolist() for ids in cut)
    return whole == list(itertools.chain.from_iterable(parts))
