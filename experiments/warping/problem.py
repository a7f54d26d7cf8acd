"""The task made ready for training: warped digits as batches, the network, and its measures."""

import numpy as np

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.metrics import classification
from experiments.common.scenes import prepared
from experiments.warping.network import network, optimizer, serving


def prepare(options):
    """The scenes that `options` name as batches, and the network that looks at them."""
    if options.trace and options.transformer != "recurrent":
        raise InputError(
            "--trace shows gates, which only --transformer recurrent has; "
            f"got --transformer {options.transformer}."
        )
    scenes = prepared(options)
    return training.Problem(
        train=scenes.train,
        validation=scenes.validation,
        model=network(scenes.shape, len(scenes.labels), options),
        serving=lambda model: serving(model, scenes.labels),
        test=lambda model: measure(model, scenes.test, scenes.labels),
        labels=scenes.labels,
        facts=scenes.facts,
        texts=scenes.texts,
        optimizer=optimizer,
        use="predict RUN picture.png",
        main_measure=training.ACCURACY,
    )


def measure(model, batches, names):
    """Accuracy, error in percent, F1, and the confusion matrix."""
    _, true = batches.collate(batches.order)
    found = classification(true, model.predict(batches.once(), verbose=0).argmax(axis=-1), names)
    measures = {
        "test_accuracy": found.accuracy,
        "test_error_percent": float(np.round(100 * (1 - found.accuracy), 4)),
        "test_f1": found.f1,
    }
    return measures, found.confusion
