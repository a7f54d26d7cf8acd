"""Reverse a sequence by attention; where the decoder looks in each step should be a line, and is drawn.

`python -m experiments.reversal [--score general] [--hard] [--steps 300] [--picture reversal.png]`

Sequences of 4 to 8 symbols come in; the decoder says them backwards. Its memory is one vector for each
position, the sum of an embedding of the symbol and one of the position, and no recurrence runs
over it, so the decoder can only learn which symbol is at a position by looking there.
"""

import argparse
import json
import sys
from pathlib import Path

from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, whole
from experiments.reversal.data import draw
from experiments.reversal.network import train
from experiments.reversal.picture import SUFFIXES, draw_picture
from keras_gates.attention import ATTENTIONS


def parser():
    parser = Parser(
        prog="python -m experiments.reversal",
        description="Train a decoder with attention to reverse sequences, and draw where it looks.",
    )
    parser.add_argument(
        "--score", choices=tuple(ATTENTIONS), default="general", help="how a position is scored"
    )
    parser.add_argument(
        "--hard", action="store_true", help="look at one position instead of a weighted mean of all"
    )
    parser.add_argument("--steps", type=whole(1), default=300, help="training steps of 128 sequences each")
    parser.add_argument(
        "--seed", type=whole(0), default=1, help="random seed; the same seed gives the same result"
    )
    parser.add_argument(
        "--picture", type=picture, metavar="FILE", help="the file to draw alignments to, .png or .svg"
    )
    return parser


def picture(text):
    """The type of a file to which a picture can be drawn."""
    path = Path(text)
    if path.suffix not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file named {' or '.join(SUFFIXES)}")
    return path


def show(_, options):
    if options.picture and not options.picture.absolute().parent.is_dir():
        raise InputError(f"--picture: there is no folder {options.picture.absolute().parent}.")
    reverser = train(options.score, options.hard, options.steps, seed=options.seed)
    if options.picture:
        draw_picture(reverser, options.picture)
    batch = draw(1000, seed=0)
    print(json.dumps({"accuracy": reverser.accuracy(batch), "mirrored": reverser.mirrored(batch)}))


def main(arguments=None):
    return command_line({"show": (parser(), show)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
