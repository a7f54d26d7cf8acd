"""What a trained model says of raw text, as `Token`s."""

import itertools

import numpy as np

from experiments.common.batches import pad
from experiments.common.highlight import Token, probabilities_of, split_words
from experiments.tagging.data.tagged import Tagged
from experiments.tagging.network import PADDING
from experiments.tagging.pieces import EVALUATION_BATCH, NO_TAG, pieces


def runs(model, labels, text):
    """The runs of characters that share a tag, as tokens.

    labels: the names of all tags, in the order of their probabilities.
    """
    whole = Tagged(text, np.zeros(len(text), "int32"))
    tags, probabilities = [], []
    for piece in pieces(whole):
        best, of_best = _best(model([piece.elements]), labels)
        counted = piece.tags != NO_TAG
        tags += best[0, counted].tolist()
        probabilities += of_best[0, counted].tolist()
    found, start = [], 0
    for tag, run in itertools.groupby(tags):
        end = start + len(list(run))
        found.append(Token(text[start:end], tag.decode(), float(np.mean(probabilities[start:end]))))
        start = end
    return found


def sentences_of(model, labels, text):
    """The sentences, one a line of the text, as lists of tokens; `labels` as in `runs`."""
    sentences = [words for line in text.splitlines() if (words := split_words(line))]
    found = []
    for start in range(0, len(sentences), EVALUATION_BATCH):
        some = sentences[start : start + EVALUATION_BATCH]
        best, of_best = _best(model(pad(some, PADDING, object)), labels)
        for words, *tagged in zip(some, best.tolist(), of_best.tolist(), strict=True):
            tokens = zip(words, *tagged, strict=False)  # beyond the words lies padding
            found.append([Token(word, tag.decode(), probability) for word, tag, probability in tokens])
    return found


def _best(answer, labels):
    """The tags as bytes, and the probability of each."""
    tags = answer["tags"].numpy()
    return tags, probabilities_of(tags, answer["probabilities"].numpy(), labels)
