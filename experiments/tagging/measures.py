"""How well a network tags the test part, and a baseline that counts tags in the training part."""

import collections
import itertools
import re

import numpy as np
import seqeval.metrics

from experiments.common.devices import predict_on_batch
from experiments.common.metrics import classification
from experiments.tagging.pieces import EVALUATION_BATCH, NO_TAG, TagBatches
from keras_gates.layers.crf import spans_allowed


def tagged(model, sequences):
    """Yield every sequence with its best tags, (time,), and the probabilities of all, (time, tags).

    model: a model of `answers`.
    """
    batches = TagBatches(sequences, EVALUATION_BATCH)
    rows = (sequences[at] for at in batches.order)
    for strings, _ in batches.once():
        for best, probabilities in zip(*predict_on_batch(model, strings), strict=True):
            sequence = next(rows)
            length = len(sequence.tags)
            yield sequence, best[:length], probabilities[:length]


def measure(model, test, corpus):
    """The measures of the test part, and the confusion matrix. What has no tag does not count.

    The loss is the mean −log of the probability of the true tag, given the elements alone.
    """
    elements, true, guessed, losses = [], [], [], []
    for sequence, best, probabilities in tagged(model, test):
        counted = np.flatnonzero(sequence.tags != NO_TAG)
        elements.append([sequence.elements[at] for at in counted])
        true.append(sequence.tags[counted])
        guessed.append(best[counted])
        of_true = probabilities[counted, true[-1]]
        losses.append(-np.log(np.maximum(of_true, np.finfo(of_true.dtype).tiny)))
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
        measures["test_span_f1"] = _span_f1(true, guessed, corpus.names)
    return dict(measures, per_label=found.per_label), found.confusion


def span_f1(model, sequences, names):
    """The F1 of spans, each right if its kind and both of its ends are."""
    true, guessed = zip(
        *((sequence.tags, best) for sequence, best, _ in tagged(model, sequences)), strict=True
    )
    return _span_f1(true, guessed, names)


def _span_f1(true, guessed, names):
    named = [[[names[tag] for tag in tags] for tags in part] for part in (true, guessed)]
    return float(seqeval.metrics.f1_score(*named))


def are_well_formed(sequences, names):
    """Whether tags that mark spans always follow the rules of BIO, or of BIOES if there are E- or S- tags."""
    start, after, end = spans_allowed(names)
    return all(start[tags[0]] and after[tags[:-1], tags[1:]].all() and end[tags[-1]] for _, tags in sequences)


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
