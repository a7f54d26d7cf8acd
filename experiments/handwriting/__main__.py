"""Handwriting, stroke by stroke: `python -m experiments.handwriting [train|write|recognise] …`."""

import argparse
import sys
from pathlib import Path

import keras

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.numbered import number_of
from experiments.common.options import Parser, command_line, not_negative, training_parser, whole
from experiments.common.run_folder import load_network, read_config
from experiments.handwriting import TASK, data, shown
from experiments.handwriting.problem import prepare
from experiments.handwriting.recogniser import Recogniser
from experiments.handwriting.scribe import Scribe
from experiments.inspect.look import look
from keras_gates._files import written_whole


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def write(parser, options):
    """Write a text, or draw, into a file."""
    config = read_config(options.run, TASK)
    scribe = Scribe.of_run(load_network(options.run), config)
    if scribe.hears_text:
        if options.text is None:
            raise InputError(f"{options.run} writes texts: say which.")
        scribe.check(options.text)
    elif options.text is not None or options.walk:
        raise InputError(f"The network of {options.run} hears no text: leave out TEXT and --walk.")
    style = None if options.style is None else _style(options, config, scribe)
    (written,) = scribe.write([options.text or ""], options.seed, options.bias, options.length, style)
    with written_whole(options.out, "drawing", replace=True) as partial:
        shown.save(written, options.out, partial)
    if options.walk:
        with written_whole(options.walk, "picture", replace=True) as partial:
            shown.save_walk(written, partial)
    print(options.out)


def recognise(parser, options):
    """Train a network that reads, and print how much of what the other one writes it reads wrongly."""
    config = read_config(options.run, TASK)
    scribe = Scribe.of_run(load_network(options.run), config)
    if not scribe.hears_text:
        raise InputError(f"The network of {options.run} hears no text, so there is nothing to read.")
    corpus = _data_of(config)
    keras.utils.set_random_seed(options.seed)
    reader = Recogniser(tuple(config["labels"]), scribe.unit)
    reader.train(corpus.train, options.epochs, options.seed)
    test = corpus.test[: options.texts]
    texts = [writing.text for writing in test]
    written = scribe.write(texts, options.seed, options.bias)
    for what, drawings in (("the test part", test), ("what the network writes", written)):
        errors = reader.errors([drawing.strokes for drawing in drawings], texts)
        print(f"characters read wrongly in {what}: {errors:.4f}")


def _data_of(config):
    """The drawings on which a run was trained."""
    try:
        wanted = {name: config["options"][name] for name in ("dataset", "fonts", "limit")}
    except KeyError as error:
        raise InputError(f"The config.json of the run is damaged: it has no option {error}.") from error
    return data.read(argparse.Namespace(**wanted))


def _style(options, config, scribe):
    """What the network hears first: a drawing of the test part by its number, or that in an SVG file."""
    if options.style.endswith(".svg"):
        style = shown.read_svg(options.style)
    else:
        test = _data_of(config).test
        style = test[number_of(options.style, len(test))]
    if scribe.hears_text:
        scribe.check(style.text)
    return style


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a recurrent network to write as people do, stroke by stroke, and write a run "
        "folder.",
        epilog=f'Let it write with: python -m experiments.{TASK} write RUN "hello world"',
        both_ways=False,
        examples="drawings",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default=data.HERSHEY,
        help=f"{data.HERSHEY} (words in fonts of pen strokes, nothing to download), an .npz file of "
        "sketch-rnn (drawings without texts), or the folder of IAM-OnDB",
    )
    task.add_argument(
        "--fonts",
        default="futural,scripts",
        help=f"fonts of {data.HERSHEY}, separated by commas; each is a hand",
    )
    task.add_argument(
        "--unconditional",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="hear no text, even where there is one",
    )
    task.add_argument(
        "--window", type=whole(1), default=3, help="Gaussians of the window that walks over the text"
    )
    task.add_argument(
        "--mixtures", type=whole(1), default=10, help="Gaussians of the mixture for where the pen goes"
    )
    task.add_argument(
        "--bias",
        type=not_negative,
        default=1.0,
        help="how neatly the trained network writes; 0: as irregularly as the data",
    )
    parser.set_defaults(
        units=128,
        layers=2,
        dropout=0.0,
        epochs=7,
        patience=1000,
        batch_size=64,
        learning_rate=3e-3,
        decay=True,
    )
    return parser


def write_parser():
    parser = Parser(prog=f"python -m experiments.{TASK} write", description="Let a trained network write.")
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("text", metavar="TEXT", nargs="?", help="what to write, if the network hears a text")
    parser.add_argument(
        "--out",
        type=_drawing,
        default="written.svg",
        metavar="FILE",
        help="an .svg or .png file, or a .gif file for an animation",
    )
    parser.add_argument("--walk", metavar="PNG", help="draw the window's walk over the text too")
    parser.add_argument(
        "--style",
        metavar="STYLE",
        help="write in this hand: an .svg file that this command wrote, or the number of a test drawing",
    )
    parser.add_argument(
        "--bias", type=not_negative, help="the greater, the neater; by default that of the training"
    )
    parser.add_argument("--length", type=whole(1), help="points at most; by default ample ones")
    parser.add_argument(
        "--seed", type=whole(0, 2**31 - 1), default=0, help="another seed writes it in another way"
    )
    return parser


def recognise_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} recognise",
        description="Train a network that reads, on the data of a run, and print how much it reads wrongly "
        "of the test part, and of the same texts as the trained network writes them.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run that hears a text")
    parser.add_argument("--texts", type=whole(1), default=200, help="texts of the test part that are read")
    parser.add_argument("--epochs", type=whole(1), default=4, help="number of epochs")
    parser.add_argument(
        "--bias", type=not_negative, help="the greater, the neater; by default that of the training"
    )
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, help="random seed")
    return parser


def _drawing(text):
    """The type of a file to draw into."""
    path = Path(text)
    if path.suffix not in shown.FORMS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a file named {', '.join(shown.FORMS)}")
    return path


def main(arguments=None):
    commands = {
        "train": (train_parser(), train),
        "write": (write_parser(), write),
        "recognise": (recognise_parser(), recognise),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
