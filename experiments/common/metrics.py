"""Measures of classification that every task reports, by scikit-learn."""

from typing import NamedTuple

import numpy as np
import sklearn.metrics


class Classification(NamedTuple):
    """How well labels were predicted.

    accuracy: the share of labels that are right.
    f1: the mean F1 over the labels that are true or predicted somewhere (macro F1).
    confusion: counts (labels, labels), a row for each true label.
    per_label: precision, recall, F1 and number of every label that is true somewhere, by name.
    """

    accuracy: float
    f1: float
    confusion: np.ndarray
    per_label: dict


def classification(true, predicted, names):
    """Compare labels with predicted ones.

    true, predicted: whole numbers of one shape, positions in `names`.
    """
    labels = range(len(names))
    confusion = sklearn.metrics.confusion_matrix(true, predicted, labels=labels)
    columns = sklearn.metrics.precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    return Classification(
        accuracy=float(np.mean(np.equal(true, predicted))),
        f1=float(columns[2][confusion.sum(axis=0) + confusion.sum(axis=1) > 0].mean()),
        confusion=confusion,
        per_label={
            name: {"precision": precision, "recall": recall, "f1": f1, "number": number}
            for name, precision, recall, f1, number in zip(
                names, *(column.tolist() for column in columns), strict=True
            )
            if number
        },
    )
