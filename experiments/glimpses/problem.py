"""The task made ready for training: digits in scenes as batches, the network, and its measures."""

import keras
import numpy as np

from experiments.common import training
from experiments.common.metrics import classification
from experiments.common.scenes import SceneBatches, Scenes, corpus_of
from experiments.glimpses.network import GlanceAccuracy, GlanceLoss, network, serving

EVALUATION_BATCH = 100
TRACED = 3  # test digits that --trace shows


def prepare(options):
    """The scenes that `options` name as batches, and the network that looks at them."""
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
        loss=GlanceLoss(len(labels)),
        metrics=(GlanceAccuracy(len(labels)),),
        use="predict RUN picture.png",
        main_measure=training.ACCURACY,
    )


def measure(model, batches, names):
    """Accuracy after each glance, loss and F1 after the last, and the confusion matrix."""
    _, true = batches.collate(batches.order)
    logits = model.predict(batches.once(), verbose=0)[..., -len(names) :]
    found = classification(true, logits[:, -1].argmax(axis=-1), names)
    loss = keras.losses.sparse_categorical_crossentropy(true, logits[:, -1], from_logits=True)
    after = (logits.argmax(axis=-1) == true[:, None]).mean(axis=0)
    measures = {
        "test_accuracy": found.accuracy,
        "test_loss": float(np.mean(loss)),
        "test_f1": found.f1,
        **{f"test_accuracy_after_{number}": float(share) for number, share in enumerate(after, 1)},
    }
    return measures, found.confusion
