"""Questions about a picture, many-to-one: `python -m experiments.questions [train|predict] …`."""

import sys

import numpy as np

from experiments.common import training
from experiments.common.options import Parser, command_line, training_parser, whole
from experiments.common.pictures import add_options, read_picture
from experiments.common.run_folder import check_labels, load_run
from experiments.common.texts import input_lines
from experiments.inspect.look import look
from experiments.questions import TASK
from experiments.questions.network import FUSIONS
from experiments.questions.problem import prepare
from experiments.questions.reading import check_words


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def predict(parser, options):
    """Print the answer to every question, and its probability."""
    config, model = load_run(TASK, options.run)
    picture = read_picture(options.image)
    for question in options.question or input_lines():
        check_words(question, config)
        answered = model({"pictures": picture[None], "questions": [question]})
        probabilities = answered["probabilities"].numpy()[0]
        check_labels(config, len(probabilities))
        print(f"{answered['answers'].numpy()[0].decode()}\t{np.max(probabilities):.4f}", flush=True)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a network to answer questions about pictures, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN IMAGE QUESTION",
        examples="pictures",
    )
    parser.set_defaults(epochs=25, patience=25, batch_size=32, learning_rate=2e-3, dropout=0.0, decay=True)
    add_options(parser, size="64x64", filters=16, stages=4)
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default="easy_vqa",
        help="easy_vqa (nothing to download), clevr (through tensorflow-datasets), or a folder with pictures "
        'and a file questions.jsonl of lines {"image": …, "question": …, "answer": …}',
    )
    task.add_argument(
        "--inputs",
        choices=("both", "question", "picture"),
        default="both",
        help="what the network is given: baselines read the question alone, or see the picture alone",
    )
    task.add_argument(
        "--fusion",
        choices=FUSIONS,
        default="product",
        help="how the vectors of picture and question become one",
    )
    task.add_argument("--hidden", type=whole(1), default=64, help="units of the layer before the answer")
    task.add_argument(
        "--vocabulary",
        type=whole(3),
        default=10_000,
        help="number of words that have vectors of their own, the most frequent",
    )
    task.add_argument("--embedding", type=whole(1), default=32, help="width of a word's vector")
    return parser


def predict_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} predict",
        description="Print answers to questions about a picture, and their probabilities.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("image", metavar="IMAGE", help="file of a picture")
    parser.add_argument(
        "question",
        nargs="*",
        metavar="QUESTION",
        help="a question; without any, questions are read from standard input, one per line",
    )
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train), "predict": (predict_parser(), predict)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
