"""The task made ready for training: warped digits as batches, the network, and its measures."""

import numpy as np

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.metrics import classification
from experiments.common.scenes import SceneBatches, Scenes, corpus_of
from experiments.warping.network import network, optimizer, serving

EVALUATION_BATCH = 100
TRACED = 3  # test digits that --trace shows


def prepare(options):
    """The scenes that `options` name as batches, and the network that looks at them."""
    if options.trace and options.transformer != "recurrent":
        raise InputError(
            "--trace shows gates, which only --transformer recurrent has; "
            f"got --transformer {options.transformer}."
        )
    corpus = corpus_of(vars(options))
    labels = tuple(map(str, range(corpus.classes)))
    train, validation, test = (
        Scenes(part, options.scene, options.edge, name) for name, part in corpus.parts().items()
    )
    test_batches = SceneBatches(test, EVALUATION_BATCH)
    return training.Problem(
        train=SceneBatches(train, options.batch_size, options.seed),
        validation=SceneBatches(validation, EVALUATION_BATCH),
        model=network(train.shape, len(labels), options),
        serving=lambda model: serving(model, labels),
        test=lambda model: measure(model, test_batches, labels),
        labels=labels,
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part.labels) for name, part in corpus.parts().items()},
            "shape": list(train.shape),
        },
        texts=tuple(f"digits:{number}" for number in range(TRACED)),
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
