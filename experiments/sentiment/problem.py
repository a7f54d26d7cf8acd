"""The task made ready for training: a corpus as batches of numbers, the network, and its measures."""

import functools
import sys

import keras
import numpy as np
import tensorflow as tf

from experiments.common import dtypes, starting, strength, training, words
from experiments.common.batches import Batches, pad
from experiments.common.metrics import classification
from experiments.sentiment import data, linear
from experiments.sentiment.network import VECTORS, network, serving

EVALUATION_BATCH = 256
TRACED = 3  # test texts that --trace shows
RARE = 2  # words and characters seen less often in training share one vector
# what is set, unless the user sets it, for texts that are read by character
OF_CHARACTERS = {
    "ngrams": 3,
    "bidirectional": True,
    "learning_rate": 2e-3,
    "adversarial": 0.0,
    "average": 0.0,
}
FEWEST_STEPS = 1_500  # of training on few texts, in as many epochs as that takes, up to MOST_EPOCHS
MOST_EPOCHS = 30
MOST_OF_START = 0.05  # share of the random weights in an average at the end of training


def prepare(options, given):
    """The corpus that `options.dataset` names as batches of numbers, and the network that reads them.

    given: the names of the options that the user gave; of the others, some are set to what suits the corpus.
    """
    corpus = data.read(options)
    start = starting.start_of(options, given)
    suit(options, given, corpus)
    vectorizer = words.vectorizer(corpus.train.texts, options.vocabulary, options.tokens, RARE)
    weights = class_weights(corpus) if options.class_weights == "balanced" else None
    train, validation, test = (
        batches_of(part, vectorizer, longest, batch_size, options.seed, weights)
        for part, longest, batch_size in (
            (corpus.train, options.max_length, options.batch_size),
            (corpus.validation, options.max_length, EVALUATION_BATCH),
            (corpus.test, options.serving_length, EVALUATION_BATCH),  # as the saved model reads them
        )
    )
    beside = _beside(options, corpus, vectorizer, validation)
    build = functools.partial(network, vectorizer.vocabulary_size(), len(corpus.names), options)
    with dtypes.policy(options.dtype):
        model = build()
    saved = functools.cache(lambda trained: dtypes.in_float32(trained, build))
    start.fill(model, "embedding", vectorizer.get_vocabulary(include_special_tokens=False))
    answering = beside.answering if beside else lambda model: model
    return training.Problem(
        train=train,
        validation=validation,
        model=strength.regularised(model, VECTORS, train, options),
        optimizer=start.optimizer(len(train)),
        loss=strength.cross_entropy(options),
        serving=lambda model: serving(
            strength.plain(answering(saved(model))), vectorizer, options.serving_length
        ),
        test=lambda model: _test(saved(model), beside, test, corpus),
        labels=corpus.names,
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            **start.facts,
        },
        texts=tuple(corpus.test.texts[:TRACED]),
        notes=(
            "Split: the files that the data come in; what they do not give, by a hash of the text.",
            f"It reads {options.tokens}, at most {options.max_length} of a text in training and "
            f"{options.serving_length:,} later; those seen only once in training are unknown to it.",
            *start.notes,
        ),
        metadata={"tokens": options.tokens, "max_length": options.serving_length, **start.metadata},
        use="predict RUN < texts.txt",
        main_measure=training.ACCURACY,
    )


def _beside(options, corpus, vectorizer, validation):
    """The linear classifier that answers beside the network, if there is one."""
    if options.beside_ngrams is None:
        return None
    ids = words.numbers(vectorizer, corpus.train.texts, options.serving_length)
    return linear.Beside(
        ids,
        corpus.train.labels,
        len(corpus.names),
        options.beside_ngrams,
        options.class_weights,
        (validation, corpus.validation.labels),
    )


def _test(model, beside, batches, corpus):
    """`measure` of what answers, and the accuracy of both parts if there is a classifier beside."""
    labels = np.asarray(corpus.test.labels)[batches.order]
    if beside is None:
        return measure(model.predict(linear.ids_of(batches), verbose=0), labels, corpus)
    logits = beside.logits(model).predict(linear.ids_of(batches), verbose=0)
    measures, confusion = measure(logits.pop("both"), labels, corpus)
    for name, part in logits.items():
        measures[f"test_accuracy_of_{name}"] = float(np.mean(part.argmax(axis=-1) == labels))
    return measures, confusion


def suit(options, given, corpus):
    """Set options that the user did not give to what suits the corpus, and say so."""
    suited = {}
    if options.tokens is None:
        options.tokens = words.kind_of(corpus.train.texts)
    if options.tokens == "characters":
        suited |= OF_CHARACTERS
    if options.devices > 1:
        suited["adversarial"] = 0.0
    steps = -(-len(corpus.train) // options.batch_size)
    if steps * options.epochs < FEWEST_STEPS:
        suited["epochs"] = min(-(-FEWEST_STEPS // steps), MOST_EPOCHS)
    suited = {name: value for name, value in suited.items() if name not in given}
    updates = steps * suited.get("epochs", options.epochs)
    if "average" not in given and options.average**updates > MOST_OF_START:
        suited["average"] = 0.0
    vars(options).update(suited)
    changes = "".join(f", {name.replace('_', ' ')} {value}" for name, value in suited.items())
    print(f"Reads {options.tokens}{changes}.", flush=True)


def class_weights(corpus):
    """A weight for each label, inversely proportional to its number in the training part; 1 on average."""
    counts = np.bincount(corpus.train.labels, minlength=len(corpus.names))
    return len(corpus.train) / (len(corpus.names) * counts).astype("float32")


def batches_of(part, vectorizer, longest, batch_size, seed, weights=None):
    """Batches of (ids, labels), with the weight of each label if there are weights."""
    ids = words.numbers(vectorizer, part.texts, longest)
    labels = np.asarray(part.labels, "int32")
    signature = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32))
    if weights is not None:
        signature += (tf.TensorSpec((None,), tf.float32),)

    def collate(indices):
        batch = pad([ids[index] for index in indices]), labels[indices]
        return batch if weights is None else (*batch, weights[batch[1]])

    return Batches([len(row) for row in ids], collate, signature, batch_size, seed)


def measure(logits, labels, corpus):
    """The measures of the test part with those of the most frequent label, and the confusion matrix.

    logits: the answers of a network, (texts, labels of the corpus).
    labels: the positions of the true labels, (texts,), in the same order.
    """
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    predicted = logits.argmax(axis=-1)
    found = classification(labels, predicted, corpus.names)
    usual = np.bincount(corpus.train.labels).argmax()
    if len(set(predicted)) == 1:
        print(
            f"The answer is always {corpus.names[predicted[0]]}: the network has learnt nothing else; "
            "try --class-weights balanced, or more --epochs.",
            file=sys.stderr,
        )
    measures = {
        "test_accuracy": found.accuracy,
        "majority_accuracy": float(np.mean(labels == usual)),
        "test_loss": float(np.mean(loss)),
        "test_f1": found.f1,
    }
    return measures, found.confusion
