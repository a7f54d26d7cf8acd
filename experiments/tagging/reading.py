"""How a run of this task is read; `experiments.common.reading` says what for."""

import tokenize

import numpy as np

from experiments.common import python_source
from experiments.common.batches import pad
from experiments.common.errors import InputError
from experiments.common.highlight import split_words
from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels
from experiments.tagging.network import PADDING

LONGEST = 1500  # characters of a text that are shown


def read(model, config, texts):
    """The texts as characters of Python source or as words, whatever the network reads."""
    check_labels(config, model.output["probabilities"].shape[-1])
    return read_code(texts) if reads_characters(config) else read_sentences(model, texts)


def reads_characters(config):
    """Whether a run's network reads characters of Python source, rather than words."""
    reads = config.get("reads")
    if reads not in ("characters", "words"):
        raise InputError(
            f"The config.json of the run is damaged: 'reads' should be characters or words, not {reads!r}."
        )
    return reads == "characters"


def read_code(texts):
    """Characters; whether each is inside a string or comment, by Python's own tokenizer, and its column."""
    # The tokenizer needs the whole text, the network reads its beginning.
    kinds = [np.array(python_source.TAGS)[tags_of_code(text)][:LONGEST] for text in texts]
    texts = [text[:LONGEST] for text in texts]
    labels = {
        "inside a string or comment": [np.isin(kind, ("string", "comment")).astype(float) for kind in kinds],
        "inside a string": [(kind == "string").astype(float) for kind in kinds],
        "column": [python_source.columns(text) for text in texts],
    }
    return Reading(np.array(texts, object), [list(text) for text in texts], labels, opens_on_swing=False)


def read_sentences(model, texts):
    """Words; for each tag that the network gives, whether it gives it here."""
    tokens = [split_words(text) for text in texts]
    inputs = pad(tokens, PADDING, object)
    tags = [row[: len(read)] for row, read in zip(model(inputs)["tags"].numpy(), tokens, strict=True)]
    found = sorted({tag.decode() for row in tags for tag in row})
    labels = {tag: [(row == tag.encode()).astype(float) for row in tags] for tag in found}
    return Reading(inputs, tokens, labels, opens_on_swing=False)


def tags_of_code(text):
    try:
        return python_source.label(text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise InputError(f"The text is no Python source: {error.args[0]}.") from error
