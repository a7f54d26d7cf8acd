"""Digits, drawn stroke upon stroke: `python -m experiments.drawing [train|predict|write|ladder] …`."""

import sys

import numpy as np

from experiments.common import scenes, training
from experiments.common.figures import asked_for
from experiments.common.options import Parser, command_line, training_parser, whole
from experiments.common.run_folder import load_run
from experiments.common.scenes import picture_of
from experiments.drawing import TASK, ladder, shown
from experiments.drawing.network import ATTENTIONS
from experiments.drawing.problem import GENERATOR, prepare
from experiments.inspect.look import look
from keras_gates._files import written_whole


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def climb(parser, options):
    ladder.climb(parser, look, options)


def predict(parser, options):
    """Print what was said of every picture, in nats, and draw how the first one is drawn."""
    files = asked_for([(options.steps, "steps"), (options.film, "film")])
    config, model = load_run(TASK, options.run)
    sizes = config["options"]
    for source in options.pictures:
        picture = picture_of(source, config)
        told = {name: np.asarray(x) for name, x in model.trace(picture[None]).items()}
        print(f"{source}\t{told['kl'].sum():.2f}", flush=True)
        read = shown.squares(told, f"{TASK}_", sizes["read_size"])
        written = shown.squares(told, f"{TASK}_decoder_", sizes["write_size"])
        for file, kind in files.items():
            with written_whole(file, "picture", replace=True) as partial:
                if kind == "film":
                    shown.film(told["canvases"], written, partial)
                else:
                    first = [None if squares is None else squares[0] for squares in (read, written)]
                    shown.strip(picture / 255, told["canvases"][0], *first, partial)
        files = {}


def write(parser, options):
    """Draw new digits."""
    files = asked_for([(options.out, "sheet"), (options.film, "film")])
    config, model = load_run(TASK, options.run, GENERATOR)
    seeds = np.arange(options.seed, options.seed + options.count, dtype="int32")
    told = {name: np.asarray(x) for name, x in model.trace(seeds).items()}
    for file, kind in files.items():
        with written_whole(file, "picture", replace=True) as partial:
            if kind == "film":
                written = shown.squares(told, f"{TASK}_", config["options"]["write_size"])
                shown.film(told["outputs"], written, partial)
            else:
                shown.sheet(told["outputs"][:, -1], partial)
    print(f"Wrote {', '.join(map(str, files))}")


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a network to draw digits in several steps, and write a run folder.",
        epilog=f"Let a trained model draw with: python -m experiments.{TASK} write RUN; see how it draws a "
        f"picture with: python -m experiments.{TASK} predict RUN PICTURE; compare drawing in patches and all "
        f"at once with: python -m experiments.{TASK} ladder",
        both_ways=False,
        examples="pictures",
    )
    parser.set_defaults(units=256, epochs=50, patience=10, batch_size=100, dropout=0.0, decay=True, clip=5.0)
    task = parser.add_argument_group(TASK)
    scenes.add_options(task, "plain", edge=60)
    task.add_argument(
        "--attention",
        choices=ATTENTIONS,
        default="filters",
        help="filters: read and write patches, by grids of Gaussian filters; none: whole pictures (both of "
        "Gregor et al. 2015)",
    )
    task.add_argument("--read-size", type=whole(2), default=8, help="filters along the edge of what is read")
    task.add_argument("--write-size", type=whole(2), default=12, help="the same of what is written")
    task.add_argument("--steps", type=whole(1), default=10, help="steps in which a picture is drawn")
    task.add_argument("--latent", type=whole(1), default=10, help="numbers that encode each step")
    return parser


def predict_parser():
    parser = scenes.predict_parser(
        TASK, "Print how many nats the encoder says of a picture, and show how it is drawn again."
    )
    parser.add_argument("--steps", metavar="PNG", help="draw the steps in which the first picture is drawn")
    parser.add_argument("--film", metavar="GIF", help="write these steps one by one")
    return parser


def write_parser():
    parser = Parser(prog=f"python -m experiments.{TASK} write", description="Draw new digits.")
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--count", type=whole(1, 1024), default=16, help="how many")
    parser.add_argument(
        "--seed", type=whole(0, 2**30), default=0, help="seed of the first one; the next has the next"
    )
    parser.add_argument("--out", metavar="PNG", default="drawings.png", help="a sheet of them")
    parser.add_argument("--film", metavar="GIF", help="write how they are drawn, step by step")
    return parser


def main(arguments=None):
    commands = {
        "train": (train_parser(), train),
        "predict": (predict_parser(), predict),
        "write": (write_parser(), write),
        "ladder": (train_parser(), climb),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
