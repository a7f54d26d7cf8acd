"""How well the frames of films are labelled: all, and apart those in which nothing can be seen."""

import keras
import numpy as np

from experiments.common.devices import predict_on_batch
from experiments.common.metrics import classification


def measure(model, batches, names):
    """Accuracy over all frames, apart over those hidden where that is known, and the confusion matrix."""
    true, answered, losses, hidden = [], [], [], []
    order = iter(batches.order)
    for frames, labels, weights in batches.once():
        logits = predict_on_batch(model, frames)
        there = np.asarray(weights) > 0
        true.append(np.asarray(labels)[there])
        answered.append(logits.argmax(axis=-1)[there])
        loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        losses.append(np.asarray(loss)[there])
        hidden += [batches.clips.clip(next(order)).hidden for _ in range(len(labels))]
    true, answered = np.concatenate(true), np.concatenate(answered)
    found = classification(true, answered, names)
    measures = {"test_accuracy": found.accuracy}
    if hidden[0] is not None:
        right, hidden = true == answered, np.concatenate(hidden)
        measures["test_hidden_accuracy"] = float(right[hidden].mean())
        measures["test_visible_accuracy"] = float(right[~hidden].mean())
    measures |= {"test_loss": float(np.concatenate(losses).mean()), "test_f1": found.f1}
    return measures, found.confusion
