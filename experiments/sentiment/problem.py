"""The task made ready for training: a corpus as batches of word ids, the network, and its measures."""

import keras
import numpy as np
import tensorflow as tf

from experiments.common import training, words
from experiments.common.batches import Batches, pad
from experiments.common.metrics import classification
from experiments.sentiment import data
from experiments.sentiment.network import network, serving

EVALUATION_BATCH = 256
TRACED = 3  # test texts that --trace shows
SIGNATURE = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32))


def prepare(options):
    """The corpus that `options.dataset` names as batches of word ids, and the network that reads them."""
    corpus = data.load(options.dataset, options.limit)
    vectorizer = words.vectorizer(corpus.train.texts, options.vocabulary)
    train, validation, test = (
        batches_of(part, vectorizer, max_length, batch_size, options.seed)
        for part, max_length, batch_size in (
            (corpus.train, options.max_length, options.batch_size),
            (corpus.validation, options.max_length, EVALUATION_BATCH),
            (corpus.test, None, EVALUATION_BATCH),  # whole, as the saved model reads them
        )
    )
    return training.Problem(
        train=train,
        validation=validation,
        model=network(vectorizer.vocabulary_size(), len(corpus.names), options),
        serving=lambda model: serving(model, vectorizer),
        test=lambda model: measure(model, test, np.asarray(corpus.test.labels), corpus.names),
        labels=corpus.names,
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part) for name, part in corpus.parts().items()},
        },
        texts=tuple(corpus.test.texts[:TRACED]),
    )


def batches_of(part, vectorizer, max_length, batch_size, seed):
    ids = words.numbers(vectorizer, part.texts, max_length)
    labels = np.asarray(part.labels, "int32")

    def collate(indices):
        return pad([ids[index] for index in indices]), labels[indices]

    return Batches([len(row) for row in ids], collate, SIGNATURE, batch_size, seed)


def measure(model, batches, labels, names):
    """Accuracy, loss and mean F1 over the labels, and the confusion matrix."""
    logits = model.predict(batches.once(), verbose=0)
    labels = labels[batches.order]
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    found = classification(labels, logits.argmax(axis=-1), names)
    measures = {
        "test_accuracy": found.accuracy,
        "test_loss": float(np.mean(loss)),
        "test_f1": found.f1,
    }
    return measures, found.confusion
