"""The task made ready for training: digits in scenes as batches, the network, and its measures."""

import keras
import numpy as np

from experiments.common import training
from experiments.common.metrics import classification
from experiments.common.scenes import prepared
from experiments.glimpses.network import GlanceAccuracy, GlanceLoss, network, serving


def prepare(options):
    """The scenes that `options` name as batches, and the network that looks at them."""
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
        loss=GlanceLoss(len(scenes.labels)),
        metrics=(GlanceAccuracy(len(scenes.labels)),),
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
