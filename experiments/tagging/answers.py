"""What a trained model says of raw text, as `Token`s."""

import itertools

import numpy as np

from experiments.common.batches import pad
from experiments.common.highlight import Token, split_words
from experiments.tagging.data.tagged import Tagged
from experiments.tagging.network import PADDING
from experiments.tagging.pieces import EVALUATION_BATCH, NO_TAG, pieces


def runs(model, text):
    """The runs of characters that share a tag, as tokens."""
    whole = Tagged(text, np.zeros(len(text), "int32"))
    tags, probabilities = [], []
    for piece in pieces(whole):
        answer = model([piece.elements])
        counted = piece.tags != NO_TAG
        tags += answer["tags"].numpy()[0, counted].tolist()
        probabilities += answer["probabilities"].numpy()[0, counted].max(axis=-1).tolist()
    found, start = [], 0
    for tag, run in itertools.groupby(tags):
        end = start + len(list(run))
        found.append(Token(text[start:end], tag.decode(), float(np.mean(probabilities[start:end]))))
        start = end
    return found


def sentences_of(model, text):
    """The sentences, one a line of the text, as lists of tokens."""
    sentences = [words for line in text.splitlines() if (words := split_words(line))]
    found = []
    for start in range(0, len(sentences), EVALUATION_BATCH):
        some = sentences[start : start + EVALUATION_BATCH]
        answer = model(pad(some, PADDING, object))
        best = answer["probabilities"].numpy().max(axis=-1).tolist()
        for words, *tagged in zip(some, answer["tags"].numpy().tolist(), best, strict=True):
            tokens = zip(words, *tagged, strict=False)  # beyond the words lies padding
            found.append([Token(word, tag.decode(), probability) for word, tag, probability in tokens])
    return found
