"""What digit, after a few glances: `python -m experiments.glimpses [train|predict] …`."""

import sys

from experiments.common import scenes, training
from experiments.common.figures import asked_for
from experiments.common.options import command_line, positive, training_parser, whole
from experiments.common.run_folder import load_run
from experiments.common.scenes import picture_of
from experiments.glimpses import TASK, shown
from experiments.glimpses.looking import look_at
from experiments.glimpses.network import READERS
from experiments.glimpses.problem import prepare
from experiments.inspect.look import look
from keras_gates._files import written_whole


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def predict(parser, options):
    """Print label and probability of every picture, and draw the first one if that is asked for."""
    pictures = asked_for([(options.path, shown.path), (options.film, shown.film)])
    config, model = load_run(TASK, options.run)
    for source in options.pictures:
        picture = picture_of(source, config)
        glances = look_at(model, config, picture)
        print(f"{source}\t{glances.label}\t{glances.probabilities[-1]:.4f}", flush=True)
        for file, draw in pictures.items():
            with written_whole(file, "picture", replace=True) as partial:
                draw(picture, glances, partial)
        pictures = {}


def train_parser():
    parser = training_parser(
        TASK,
        description="Train a network to name digits that it sees in a few glances, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN PICTURE",
        both_ways=False,
        examples="pictures",
    )
    parser.set_defaults(units=128, epochs=20, patience=5, learning_rate=2e-3, dropout=0.0, decay=True)
    task = parser.add_argument_group(TASK)
    scenes.add_options(task, "plain", edge=60)
    task.add_argument(
        "--reader",
        choices=READERS,
        default="draw",
        help="draw: a grid of Gaussian filters, trained by its gradient (Gregor et al. 2015); ram: a retina, "
        "trained by REINFORCE (Mnih et al. 2014)",
    )
    task.add_argument("--glances", type=whole(1), default=6, help="how often the network looks")
    task.add_argument("--patch", type=whole(2), default=8, help="pixels of the edge of a glance")
    task.add_argument("--scales", type=whole(1, 8), default=1, help="patches of the retina")
    task.add_argument(
        "--stddev", type=positive, default=0.1, help="standard deviation of the retina's place in training"
    )
    return parser


def predict_parser():
    parser = scenes.predict_parser(TASK)
    parser.add_argument("--path", metavar="PNG", help="draw the path of the eye over the first picture")
    parser.add_argument("--film", metavar="GIF", help="write the glances at the first picture one by one")
    return parser


def main(arguments=None):
    return command_line({"train": (train_parser(), train), "predict": (predict_parser(), predict)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
