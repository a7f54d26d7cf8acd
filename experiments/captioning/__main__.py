"""Captions of pictures: `python -m experiments.captioning [train|predict|ladder] …`."""

import argparse
import json
import sys
from pathlib import Path

from experiments.captioning import TASK, ladder, looks
from experiments.captioning.captioner import Captioner
from experiments.captioning.presets import PRESETS
from experiments.captioning.problem import EXAMPLES, prepare
from experiments.common import pictures, training
from experiments.common.errors import InputError
from experiments.common.options import (
    Parser,
    add_cell_of_run,
    command_line,
    looked_up,
    positive,
    share,
    training_parser,
    whole,
)
from experiments.common.run_folder import load_network, read_config
from experiments.inspect.look import look
from keras_gates._files import written_whole


def train(parser, options):
    training.train(TASK, prepare, _look_at_examples, parser, options)


def climb(parser, options):
    ladder.climb(parser, _look_at_examples, options)


def _look_at_examples(run, _, folder):
    look(run, sorted(map(str, (run / EXAMPLES).iterdir())), folder)


def predict(parser, options):
    """Print a caption for each picture, and draw where the network looked."""
    config = read_config(options.run, TASK)
    captioner = Captioner.of_run(load_network(options.run), config, options.beam)
    read = [pictures.read_picture(path) for path in options.image]
    captions = [captioner.write(picture[None])[0] for picture in read]
    if options.attention and captions[0].looked is None:
        raise InputError(f"--attention: the network of {options.run} does not attend to places.")
    for path, caption in zip(options.image, captions, strict=True):
        print(FORMATS[options.format](path, caption))
    if options.attention:
        with written_whole(options.attention, "picture", replace=True) as partial:
            looks.save(partial, options.attention.suffix, read, captions)


FORMATS = {
    "text": lambda path, caption: f"{path}: {caption.text}",
    "json": lambda path, caption: json.dumps(
        {"image": path, "caption": caption.text, "log_probability": caption.score}, ensure_ascii=False
    ),
}


def train_parser(preset=None):
    """The options of training, with the defaults of a preset, or None."""
    parser = training_parser(
        TASK,
        description="Train a network to caption pictures, and write a run folder.",
        epilog=f"Caption pictures with: python -m experiments.{TASK} predict RUN IMAGE. The same options "
        f"with python -m experiments.{TASK} ladder train thrice each without the picture, with it in the "
        "first states, at every step, and with soft and hard attention, and print a table.",
        both_ways=False,
        examples="pictures",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--preset",
        choices=PRESETS,
        help="other defaults: glyphs-best is a long training that names most characters right, without "
        "attention; the defaults shown here are without",
    )
    task.add_argument(
        "--dataset",
        default="glyphs",
        help="glyphs (characters and their Unicode names, nothing to download), coco_captions (through "
        "tensorflow-datasets), a folder with captions.txt and Images as that of Flickr8k, or a CSV file with "
        "the columns file and caption",
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
        default="step",
        help="how the picture as a whole comes in: state (the states of the recurrent layers start from it), "
        "step (it joins the input of every step), none (not at all)",
    )
    task.add_argument(
        "--attention",
        choices=("none", "soft", "hard"),
        default="soft",
        help="how the last layer looks at the places of the picture for every word: soft (at all, weighted), "
        "hard (at one), none (not at all)",
    )
    task.add_argument(
        "--doubly-stochastic",
        type=positive,
        metavar="WEIGHT",
        help="weight of a loss that lets a caption look at each place about once, all words together "
        "(Xu et al. 2015)",
    )
    task.add_argument("--embedding", type=whole(1), default=64, help="width of a word's vector")
    task.add_argument(
        "--word-dropout",
        type=share,
        default=0.1,
        help="share of the heard words that are dropped in training",
    )
    task.add_argument(
        "--picture-dropout", type=share, default=0.0, help="dropout rate of the features of the picture"
    )
    task.add_argument(
        "--jitter",
        type=share,
        default=0.04,
        help="shift and zoom training pictures by up to this share of their size",
    )
    task.add_argument(
        "--beam", type=whole(1), default=1, help="width of the beam search that writes; 1 writes greedily"
    )
    pictures.add_options(parser, size="48x48", filters=16, stages=3)
    defaults = {"units": 256, "epochs": 8, "patience": 1000, "learning_rate": 3e-3, "dropout": 0.1}
    parser.set_defaults(**{"decay": True, **defaults, **PRESETS.get(preset, {})})
    return parser


def predict_parser():
    parser = Parser(prog=f"python -m experiments.{TASK} predict", description="Caption pictures.")
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    add_cell_of_run(parser)
    parser.add_argument("image", metavar="IMAGE", nargs="+", help="a file that holds a picture")
    parser.add_argument("--beam", type=whole(1), help="width of the beam search; by default that of the run")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how captions are printed")
    parser.add_argument(
        "--attention",
        type=_drawing,
        metavar="FILE",
        help="draw where the network looked as it chose each word: a film strip into a .png or .svg file, or "
        "a page to point at words into an .html file",
    )
    return parser


def _drawing(text):
    """The type of a file to draw into."""
    path = Path(text)
    if path.suffix not in looks.SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file named {', '.join(looks.SUFFIXES)}")
    return path


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = train_parser(looked_up(arguments, "--preset"))
    commands = {
        "train": (parser, train),
        "predict": (predict_parser(), predict),
        "ladder": (parser, climb),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
