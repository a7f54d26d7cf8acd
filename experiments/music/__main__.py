"""Polyphonic music, frame by frame: `python -m experiments.music --dataset JSB_Chorales.mat [options]`."""

import sys

from experiments.common import training
from experiments.common.options import command_line, training_parser, whole
from experiments.common.recurrent import add_remember
from experiments.inspect.look import look
from experiments.music import TASK
from experiments.music.problem import prepare


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a recurrent network to foretell which notes sound in the next frame of a piece, "
        "and write a run folder.",
        epilog="See what its units do with: python -m experiments.inspect RUN 0 1, by the numbers of test "
        "pieces.",
        both_ways=False,
        examples="pieces",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        metavar="FILE",
        default="JSB_Chorales.mat",
        help="piano rolls as in Boulanger-Lewandowski et al. 2012: JSB_Chorales.mat, Nottingham.mat, "
        "MuseData.mat or Piano_midi.mat",
    )
    task.add_argument(
        "--window",
        type=whole(2),
        default=200,
        help="frames through which a gradient is propagated back; the test reads whole pieces",
    )
    task.add_argument(
        "--mixtures",
        type=whole(1),
        default=1,
        help="components of a mixture of frames: each has a probability for every key, so the mixture can "
        "say which keys sound together; with 1, keys are independent, as in the published tables",
    )
    add_remember(task)
    parser.set_defaults(
        units=128, dropout=0.3, epochs=60, patience=6, batch_size=16, learning_rate=5e-3, decay=True
    )
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
