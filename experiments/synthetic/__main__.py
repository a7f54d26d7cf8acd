"""Small worlds that need memory: `python -m experiments.synthetic --task adding|copy|… [options]`."""

import argparse
import sys

from experiments.common import training
from experiments.common.options import command_line, training_parser, whole
from experiments.common.recurrent import add_remember
from experiments.inspect.look import look
from experiments.synthetic import TASK
from experiments.synthetic.problem import prepare
from experiments.synthetic.tasks import TASKS
from experiments.synthetic.timing import FUNCTIONS


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a recurrent network on a task that needs memory, and write a run folder. "
        "Every sequence is drawn anew.",
        epilog="See what its units do with: python -m experiments.inspect RUN 0 1 2, by the numbers of test "
        "sequences.",
        both_ways=False,
        examples="sequences",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--task", "--dataset", dest="dataset", choices=TASKS, default="adding", help="what is to be learnt"
    )
    task.add_argument(
        "--length",
        type=whole(1),
        help="steps of a sequence; blanks of copy; the largest n of anbn and anbncn in training; by default "
        "that of the task",
    )
    task.add_argument(
        "--shortest",
        type=whole(1),
        help="train on batches of lengths from this to --length, most of them short, so that what is learnt "
        "there carries over to the long ones; validation and test have --length, as without",
    )
    task.add_argument(
        "--period", type=whole(2), help="steps of a period, or the least of an interval; by default 10"
    )
    task.add_argument(
        "--noise", type=whole(0), help="steps by which a measured spike may be early or late; by default 0"
    )
    task.add_argument("--function", choices=FUNCTIONS, help="the periodic function; by default cosine")
    task.add_argument(
        "--longest", type=whole(1), help="the largest n of anbn and anbncn in the test; by default 1000"
    )
    task.add_argument("--batches", type=whole(1), default=100, help="batches of an epoch")
    add_remember(task)
    task.add_argument(
        "--hard",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="units with hard_sigmoid and hard_tanh for sigmoid and tanh: they reach their bounds, so that a "
        "gate can be wholly open and a unit can count without an error that grows",
    )
    parser.set_defaults(
        units=32, dropout=0.0, epochs=20, patience=10, batch_size=32, learning_rate=1e-2, decay=True
    )
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
