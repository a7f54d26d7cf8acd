"""Captions of pictures: `python -m experiments.captioning [train|predict] …`."""

import sys

from experiments.captioning import TASK
from experiments.captioning.problem import prepare
from experiments.common import pictures, training
from experiments.common.options import command_line, positive, share, training_parser, whole
from experiments.inspect.look import look


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a network to caption pictures, and write a run folder.",
        epilog=f"Caption pictures with: python -m experiments.{TASK} predict RUN IMAGE",
        both_ways=False,
        examples="pictures",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default="glyphs",
        help="glyphs (characters and their Unicode names, nothing to download), coco_captions (through "
        "tensorflow-datasets), a folder with captions.txt and Images/ as that of Flickr8k, or a CSV file with the "
        "columns file and caption",
    )
    task.add_argument(
        "--least-count",
        type=whole(1),
        default=1,
        help="words that occur less often in training are one, the unknown word",
    )
    task.add_argument(
        "--image",
        choices=("state", "step", "none"),
        default="state",
        help="how the whole picture comes in: state (the states of the recurrent layers start from it), step (it joins "
        "the input of every step), none (not at all)",
    )
    task.add_argument(
        "--attention",
        choices=("none", "soft", "hard"),
        default="soft",
        help="how the last layer looks at the places of the picture for every word: soft (at all of them, weighted), "
        "hard (at one), none (not at all)",
    )
    task.add_argument(
        "--doubly-stochastic",
        type=positive,
        metavar="WEIGHT",
        help="weight of a loss that lets a caption look at each place about once, all words together (Xu et al. 2015)",
    )
    task.add_argument("--embedding", type=whole(1), default=64, help="width of a word's vector")
    task.add_argument(
        "--word-dropout", type=share, default=0.2, help="share of the heard words that are dropped in training"
    )
    task.add_argument(
        "--picture-dropout", type=share, default=0.2, help="dropout rate of the features of the picture"
    )
    task.add_argument(
        "--jitter",
        type=share,
        default=0.06,
        help="shift and zoom training pictures by up to this share of their size",
    )
    task.add_argument(
        "--beam", type=whole(1), default=1, help="width of the beam search that writes; 1 writes greedily"
    )
    pictures.add_options(parser, size="48x48", filters=16, stages=3)
    parser.set_defaults(units=256, epochs=15, patience=1000, learning_rate=2e-3, decay=True, dropout=0.3)
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
