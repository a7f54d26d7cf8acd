"""What digit, however it is warped: `python -m experiments.warping [train|predict|ladder] …`."""

import sys

import numpy as np

from experiments.common import scenes, training
from experiments.common.figures import asked_for
from experiments.common.options import command_line, training_parser, whole
from experiments.common.run_folder import load_run
from experiments.common.scenes import picture_of
from experiments.inspect.look import look
from experiments.warping import TASK, ladder, shown
from experiments.warping.network import TRANSFORMERS
from experiments.warping.problem import prepare
from keras_gates._files import written_whole


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def climb(parser, options):
    ladder.climb(parser, look, options)


def predict(parser, options):
    """Print label and probability of every picture, and draw the first one if that is asked for."""
    pictures = asked_for([(options.views, shown.before_and_after)])
    config, model = load_run(TASK, options.run)
    for source in options.pictures:
        picture = picture_of(source, config)
        answer = {name: np.asarray(x)[0] for name, x in model(picture[None]).items()}
        print(f"{source}\t{answer['labels'].decode()}\t{answer['probabilities'].max():.4f}", flush=True)
        for file, draw in pictures.items():
            with written_whole(file, "picture", replace=True) as partial:
                draw(picture, answer, partial)
        pictures = {}


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a network to name digits that are rotated, scaled, moved, projected or bent, "
        "behind a spatial transformer or without, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN PICTURE; compare "
        f"networks with and without a transformer with: python -m experiments.{TASK} ladder",
        both_ways=False,
        examples="pictures",
    )
    parser.set_defaults(units=64, epochs=30, patience=10, dropout=0.3, decay=True, cell="gru")
    task = parser.add_argument_group(TASK)
    scenes.add_options(task, "moved", edge=42)
    task.add_argument(
        "--transformer",
        choices=TRANSFORMERS,
        default="once",
        help="none; once (Jaderberg et al. 2015); or recurrent, several views one after the other, of which "
        "--cell tells where (Sønderby et al. 2015)",
    )
    task.add_argument("--steps", type=whole(1), default=3, help="views of a recurrent transformer")
    return parser


def predict_parser():
    parser = scenes.predict_parser(TASK)
    parser.add_argument(
        "--views", metavar="PNG", help="draw the first picture before and after it is straightened"
    )
    return parser


def main(arguments=None):
    commands = {
        "train": (train_parser(), train),
        "predict": (predict_parser(), predict),
        "ladder": (train_parser(), climb),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
