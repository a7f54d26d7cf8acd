"""What a decoder gains by seeing more of the text: three networks of a size, each trained thrice."""

from experiments.common import ladder
from experiments.common.errors import InputError
from experiments.common.ladder import Rung
from experiments.translation import TASK
from experiments.translation.problem import prepare
from keras_gates.attention import ATTENTIONS


def climb(parser, look, options):
    """Train what is not yet trained, and print and write the table.

    parser: that of training, whose runs the ladder's are.
    options: of training; `out` is the folder of the runs, `seed` the first seed, and `attention` how the
        third rung attends.
    """
    attention = options.attention
    if attention not in ATTENTIONS:
        raise InputError(
            f"A ladder ends with attention, and its --attention is that of the third rung: "
            f"{', '.join(ATTENTIONS)}; got {attention}."
        )
    rungs = {
        "none": Rung("the states it begins with", {"attention": "none", "hard": False}),
        "context": Rung("the last state at every step", {"attention": "context", "hard": False}),
        attention: Rung(f"all states, by {attention} attention", {}),
    }
    ladder.climb(TASK, prepare, look, parser, options, "the decoder sees", rungs)
