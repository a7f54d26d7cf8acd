"""What a decoder gains by seeing more of the picture: five networks, each trained thrice."""

from experiments.captioning import TASK
from experiments.captioning.problem import prepare
from experiments.common import ladder
from experiments.common.ladder import Rung

RUNGS = {
    "blind": Rung("nothing", {"image": "none", "attention": "none"}),
    "state": Rung("the picture in the states it begins with", {"image": "state", "attention": "none"}),
    "step": Rung("the picture at every step", {"image": "step", "attention": "none"}),
    "soft": Rung("that, and places, softly", {"image": "step", "attention": "soft"}),
    "hard": Rung("that, and one place at each step", {"image": "step", "attention": "hard"}),
}


def climb(parser, look, options):
    """Train what is not yet trained, and print and write the table.

    parser: that of training, whose runs the ladder's are.
    options: of training; `out` is the folder of the runs, and `seed` the first seed.
    """
    ladder.climb(TASK, prepare, look, parser, options, "the decoder sees", RUNGS)
