"""Pictures made ready for training."""

import keras
import numpy as np
import tensorflow as tf

from experiments.common import mnist, training
from experiments.common.batches import Batches
from experiments.common.metrics import classification
from experiments.pixels.network import network, serving

EVALUATION_BATCH = 500
TRACED = 3  # test pictures that --trace shows
PUBLISHED = {  # by row or pixel, and whether permuted
    ("row", False): "0.989 on MNIST",
    ("pixel", False): "MNIST: LSTM 0.989 (Cooijmans), 0.872 (Bai), 0.929 (RRU); GRU 0.962 (Bai), 0.984 (RRU)",
    ("pixel", True): "MNIST: LSTM 0.902 (Cooijmans), 0.857 (Bai), 0.974 (RRU); GRU 0.873 (Bai), 0.987 (RRU)",
}


def prepare(options):
    """The pictures that `options.dataset` names, and the network that reads them."""
    corpus = mnist.load(options.dataset, options.limit)
    labels = tuple(map(str, range(corpus.classes)))
    published = PUBLISHED.get((options.by, options.permuted))

    def test(model):
        measures, confusion = measure(model, corpus.test, labels)
        return measures | ({"published": published} if published else {}), confusion

    return training.Problem(
        train=batches_of(corpus.train, options.batch_size, options.seed),
        validation=batches_of(corpus.validation, EVALUATION_BATCH),
        model=network(corpus.train.pictures.shape[1:], corpus.classes, options),
        serving=serving,
        test=test,
        labels=labels,
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part.labels) for name, part in corpus.parts().items()},
        },
        texts=tuple(map(str, range(min(TRACED, len(corpus.test.labels))))),
        main_measure=training.ACCURACY,
    )


def batches_of(part, batch_size, seed=0):
    shape = part.pictures.shape[1:]
    signature = (tf.TensorSpec((None, *shape), tf.uint8), tf.TensorSpec((None,), tf.int32))

    def collate(indices):
        return part.pictures[indices], part.labels[indices]

    return Batches(np.ones(len(part.labels)), collate, signature, batch_size, seed)


def measure(model, part, names):
    """Accuracy and loss, beside the share of the most frequent label, and the confusion matrix."""
    logits = model.predict(part.pictures, batch_size=EVALUATION_BATCH, verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(part.labels, logits, from_logits=True)
    found = classification(part.labels, logits.argmax(axis=-1), names)
    measures = {
        "test_accuracy": found.accuracy,
        "test_loss": float(np.mean(loss)),
        "test_f1": found.f1,
        "baseline_accuracy": float(np.bincount(part.labels).max() / len(part.labels)),
    }
    return measures, found.confusion
