"""A linear classifier of words and their runs, which answers beside the network.

It is the logistic regression with naive Bayes features of Wang & Manning 2012, *Baselines and bigrams*: how
often an n-gram occurs is multiplied by its log-count ratio, which says how much more often it is in the texts
of one label than in the others. The network and the classifier learn apart, since the classifier soon knows
all training texts by heart and would leave the network nothing to learn; their logits are added, each with a
weight that the validation part decides.
"""

import functools

import keras
import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from sklearn.linear_model import LogisticRegression

import keras_gates
from experiments.common.batches import pad, runs_within
from experiments.sentiment import TASK
from keras_gates.layers.text import HashedNGrams

BUCKETS = 2**21  # of the hash, which all n-grams share
PENALTY = 0.1  # C of the regression: the inverse of how strong the penalty of its weights is
SMOOTHING = 1  # texts that each n-gram is taken to be in, for each label, beside those it is in
TOGETHER = 1024  # texts
MOST = 2**21  # ids of a padded batch of texts


class Beside:
    """The classifier, and the network that answers with it.

    ids: the ids of each training text; labels: its label, a number.
    number: how many labels there are.
    longest: n of the longest n-grams.
    class_weights: None, or "balanced" if each label weighs the same, however rare it is.
    validation: `Batches` of the validation part, and its labels.
    """

    def __init__(self, ids, labels, number, longest, class_weights, validation):
        self.ids, self.labels, self.number, self.longest = ids, np.asarray(labels), number, longest
        self.class_weights, self.validation = class_weights, validation

    @functools.cached_property
    def classifier(self):
        """The model from ids (batch, time) to the logits of the classifier (batch, labels)."""
        print(f"Fits a linear classifier of runs of up to {self.longest}.", flush=True)
        counts = count(self.ids, self.longest)
        return _model(*fitted(counts, self.labels, self.number, self.class_weights), self.longest)

    @functools.cache  # noqa: B019 (lives as long as the run)
    def logits(self, network):
        """The model from ids to the logits of the network, of the classifier, and of both together, by name.

        Both are added with the weights of the least validation loss.
        """
        logits = {"network": network.output, "ngrams": self.classifier(network.input)}
        batches, labels = self.validation
        found = keras.Model(network.input, logits).predict(ids_of(batches), verbose=0)
        weights = stacked([found[name] for name in logits], np.asarray(labels)[batches.order])
        weighted = [
            keras.layers.Rescaling(weight, name=f"weighted_{name}")(logits[name])
            for weight, name in zip(weights, logits, strict=True)
        ]
        return keras.Model(network.input, {**logits, "both": keras.layers.Add(name="both")(weighted)})

    def answering(self, network):
        """The model from ids to the logits of both together."""
        logits = self.logits(network)
        return keras.Model(logits.input, logits.output["both"], name=TASK)


def ids_of(batches):
    """The ids alone of `Batches`, each example once, in their order."""
    return batches.once().map(lambda ids, *_: ids)


def count(ids, longest):
    """How often each n-gram occurs in each text: a sparse matrix (texts, `BUCKETS`)."""
    rows, columns, start = [], [], 0
    hashes = _hashes(longest)
    for run in runs_within([len(row) for row in ids], TOGETHER, MOST):
        padded = pad(ids[run])
        numbers = np.concatenate([np.asarray(hashed(padded)) for hashed in hashes], axis=1)
        row, step = np.nonzero(numbers)
        rows.append(row + start)
        columns.append(numbers[row, step])
        start += len(padded)
    columns = np.concatenate(columns)
    ones = np.ones(len(columns), "float32")
    return scipy.sparse.csr_matrix((ones, (np.concatenate(rows), columns)), (len(ids), BUCKETS))


def _hashes(longest):
    return [HashedNGrams(n, BUCKETS, name=f"hashed_{n}") for n in range(1, longest + 1)]


def ratios(counts, chosen):
    """The log-count ratio of each n-gram: log of its share in the chosen texts over that in the others.

    An n-gram counts once in a text.
    """
    occurs = counts.copy()
    occurs.data[:] = 1
    inside, outside = (
        SMOOTHING + np.asarray(occurs[part].sum(axis=0), "float64").ravel() for part in (chosen, ~chosen)
    )
    return np.log(inside / inside.sum()) - np.log(outside / outside.sum())


def fitted(counts, labels, number, class_weights=None):
    """The weights (`BUCKETS`, labels) and biases (labels,) of a regression for each label against the others.

    Of two labels one regression tells both.
    """
    # of few texts a label may have none
    apart = [label for label in range(number) if 0 < np.sum(labels == label) < len(labels)]
    weights, biases = np.zeros((BUCKETS, number), "float32"), np.zeros(number, "float32")
    for label in apart[-1:] if number == 2 else apart:
        chosen = labels == label
        ratio = ratios(counts, chosen)
        regression = LogisticRegression(
            C=PENALTY, class_weight=class_weights, solver="liblinear", max_iter=1000, random_state=0
        )
        regression.fit(counts.multiply(ratio.astype("float32")).tocsr(), chosen)
        weights[:, label] = regression.coef_[0] * ratio
        biases[label] = regression.intercept_[0]
    return weights, biases


def stacked(logits, labels):
    """Weights, at least 0, of several classifiers' logits (texts, labels), with the least cross-entropy.

    Wolpert 1992, Stacked generalization.
    """

    def loss(weights):
        scores = sum(weight * each for weight, each in zip(weights, logits, strict=True))
        return float(
            np.mean(scipy.special.logsumexp(scores, axis=1) - scores[np.arange(len(labels)), labels])
        )

    start = np.full(len(logits), 1 / len(logits))
    found = scipy.optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(0, None)] * len(logits))
    return [float(weight) for weight in found.x]


def _model(weights, biases, longest):
    ids = keras.Input((None,), dtype="int32", name="ids")
    table = keras.layers.Embedding(BUCKETS, len(biases), mask_zero=True, trainable=False, name="weights")
    sums = [keras_gates.SumPooling()(table(hashed(ids))) for hashed in _hashes(longest)]
    total = sums[0] if longest == 1 else keras.layers.Add(name="sum")(sums)
    table.set_weights([weights])
    logits = keras.layers.Rescaling(1.0, offset=biases.tolist(), name="with_bias")(total)
    return keras.Model(ids, logits, name="ngrams")
