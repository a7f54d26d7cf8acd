"""What a network gains by straightening what it looks at: three networks, each trained thrice."""

from experiments.common import ladder
from experiments.common.ladder import Rung
from experiments.warping import TASK
from experiments.warping.problem import prepare

RUNGS = {
    "none": Rung("as it is", {"transformer": "none"}),
    "once": Rung("once", {"transformer": "once"}),
    "recurrent": Rung("in several views", {"transformer": "recurrent"}),
}


def climb(parser, look, options):
    """Train what is not yet trained, and print and write the table.

    parser: that of training, whose runs the ladder's are.
    options: of training; `out` is the folder of the runs, and `seed` the first seed.
    """
    ladder.climb(TASK, prepare, look, parser, options, "the picture is straightened", RUNGS)
