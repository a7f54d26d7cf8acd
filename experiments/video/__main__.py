"""A label for every frame of a film, many-to-many: `python -m experiments.video [train|predict] …`."""

import argparse
import sys

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.figures import asked_for
from experiments.common.options import Parser, command_line, training_parser, whole
from experiments.common.pictures import add_options
from experiments.common.run_folder import load_run
from experiments.inspect.look import look
from experiments.video import TASK, shown
from experiments.video.films import frames_of
from experiments.video.problem import prepare
from experiments.video.watching import watch
from keras_gates._files import written_whole


def train(parser, options):
    if options.frame_by_frame and (options.bidirectional or options.trace):
        raise InputError("--frame-by-frame has no recurrent layer: leave out --bidirectional and --trace.")
    if options.trace and options.dataset != "moving_digits":
        raise InputError(
            f"--trace shows films of moving_digits; use experiments.inspect for {options.dataset}."
        )
    training.train(TASK, prepare, look, parser, options)


def predict(parser, options):
    """Print number, label and probability of every frame, and draw them if that is asked for."""
    pictures = asked_for([(options.strip, shown.strip), (options.film, shown.film)])
    config, model = load_run(TASK, options.run)
    kept = []
    for number, seen in enumerate(watch(model, config, frames_of(options.film_or_folder))):
        print(f"{number}\t{seen.label}\t{seen.probability:.4f}", flush=True)
        if pictures:
            kept.append(seen._replace(frame=shown.small(seen.frame)))
    for path, draw in pictures.items():
        with written_whole(path, "picture", replace=True) as partial:
            draw(*zip(*kept, strict=True), partial)


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a network to label every frame of a film, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN FILE",
        examples="clips",
    )
    parser.set_defaults(epochs=8, patience=8, batch_size=16, learning_rate=3e-3, dropout=0.0, decay=True)
    add_options(parser, size="24x64", filters=12, stages=3)
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default="moving_digits",
        help="moving_digits (nothing to download), ucf101 (through tensorflow-datasets), or a folder with "
        "folders of frames and a file labels.csv with the columns folder, label and perhaps frame",
    )
    task.add_argument(
        "--frames", type=whole(2), default=24, help="frames of a clip in training; longer clips are cut"
    )
    task.add_argument(
        "--frame-by-frame",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="leave out the recurrent layers: the baseline, which sees each frame alone",
    )
    return parser


def predict_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} predict",
        description="Print the label of every frame of a film, and its probability.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "film_or_folder",
        metavar="FILM",
        help="a video file, a folder of frames, or moving_digits:N for a test clip of that dataset",
    )
    parser.add_argument("--strip", metavar="PNG", help="draw the frames side by side, with their labels")
    parser.add_argument("--film", metavar="GIF", help="write the film with the label below each frame")
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train), "predict": (predict_parser(), predict)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
