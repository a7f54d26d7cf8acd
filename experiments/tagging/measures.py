"""How well a network tags the test part, and a baseline that counts tags in the training part."""

import collections
import itertools
import re

import keras
import numpy as np
import seqeval.metrics

from experiments.common.metrics import classification
from experiments.tagging.pieces import EVALUATION_BATCH, NO_TAG, TagBatches


def tagged(network, sequences):
    """Yield every sequence with its logits, (len(sequence.tags), tags)."""
    batches = TagBatches(sequences, EVALUATION_BATCH)
    rows = (sequences[at] for at in batches.order)
    for strings, _ in batches.once():
        for logits in network.predict_on_batch(strings):
            sequence = next(rows)
            yield sequence, logits[: len(sequence.tags)]


def measure(network, test, corpus):
    """The measures of the test part, and the confusion matrix. What has no tag does not count."""
    elements, true, guessed, losses = [], [], [], []
    for sequence, logits in tagged(network, test):
        counted = np.flatnonzero(sequence.tags != NO_TAG)
        elements.append([sequence.elements[at] for at in counted])
        true.append(sequence.tags[counted])
        guessed.append(logits[counted].argmax(axis=-1))
        losses.append(
            keras.losses.sparse_categorical_crossentropy(true[-1], logits[counted], from_logits=True)
        )
    all_true, all_guessed = np.concatenate(true), np.concatenate(guessed)
    found = classification(all_true, all_guessed, corpus.names)
    measures = dict(
        test_accuracy=found.accuracy,
        test_loss=float(np.concatenate(losses).mean()),
        test_f1=found.f1,
        **against_training(
            itertools.chain.from_iterable(elements), all_true, all_true == all_guessed, corpus
        ),
    )
    if are_spans(corpus.names):
        named = [[[corpus.names[tag] for tag in tags] for tags in part] for part in (true, guessed)]
        measures["test_span_f1"] = float(seqeval.metrics.f1_score(*named))
    return dict(measures, per_label=found.per_label), found.confusion


def against_training(elements, true, right, corpus):
    """The accuracy of a baseline, and that of the network on elements that do not occur in training.

    The baseline gives every element the tag that it has most often in training, and an element that does not
    occur there the tag that is most frequent in training.
    """
    counts = collections.defaultdict(lambda: np.zeros(len(corpus.names), int))
    for sequence in corpus.train:
        for element, tag in zip(*sequence, strict=True):
            counts[element][tag] += 1
    usual = {element: tags.argmax() for element, tags in counts.items()}
    otherwise = sum(counts.values()).argmax()
    known = [usual.get(element, NO_TAG) for element in elements]
    unseen = np.array(known) == NO_TAG
    baseline = np.where(unseen, otherwise, known)
    measures = {"baseline_accuracy": float((baseline == true).mean())}
    if unseen.any():
        measures.update(unseen=int(unseen.sum()), unseen_accuracy=float(right[unseen].mean()))
    return measures


def are_spans(names):
    """Whether tags mark spans: each is O, or tells where in a span it stands, as B-PER and I-PER do."""
    inside = [name for name in names if name != "O"]
    return bool(inside) and all(re.match(r"[BIES]-.", name) for name in inside)
