"""What a trained model says of raw text, as `Token`s."""

import itertools

import numpy as np

from experiments.common.batches import MOST_STEPS, pad, runs_within
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
    """The sentences, one a line of the text, as lists of tokens; of a blank line, an empty list.

    labels: as in `runs`.
    """
    return tagged(model, labels, [split_words(line) for line in text.removesuffix("\n").split("\n")])


def tagged(model, labels, sentences):
    """Sentences, which are lists of words, as lists of tokens; long ones are tagged piece by piece."""
    parts = [pieces(Tagged(words, np.zeros(len(words), "int32"))) for words in sentences]
    read = iter(_tagged_pieces(model, labels, [piece for some in parts for piece in some]))
    return [[token for _ in some for token in next(read)] for some in parts]


def _tagged_pieces(model, labels, some):
    """Yield for each piece the tokens that count in it."""
    for run in runs_within([len(piece.elements) for piece in some], EVALUATION_BATCH, MOST_STEPS):
        batch = some[run]
        best = _best(model(pad([piece.elements for piece in batch], PADDING, object)), labels)
        for piece, tags, shares in zip(batch, *(part.tolist() for part in best), strict=True):
            tokens = zip(piece.elements, tags, shares, piece.tags, strict=False)  # beyond lies padding
            yield [Token(word, tag.decode(), share) for word, tag, share, at in tokens if at != NO_TAG]


def _best(answer, labels):
    """The tags as bytes, and the probability of each."""
    tags = answer["tags"].numpy()
    return tags, probabilities_of(tags, answer["probabilities"].numpy(), labels)
