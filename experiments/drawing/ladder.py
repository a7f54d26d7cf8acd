"""What a network gains by looking and drawing in patches: two networks, each trained thrice."""

from experiments.common import ladder
from experiments.common.ladder import Rung
from experiments.drawing import TASK
from experiments.drawing.problem import prepare

RUNGS = {
    "none": Rung("all at once", {"attention": "none"}),
    "filters": Rung("in patches", {"attention": "filters"}),
}


def climb(parser, look, options):
    """Train what is not yet trained, and print and write the table.

    parser: that of training, whose runs the ladder's are.
    options: of training; `out` is the folder of the runs, and `seed` the first seed.
    """
    ladder.climb(TASK, prepare, look, parser, options, "a picture is read and drawn", RUNGS)
