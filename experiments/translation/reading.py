"""How a run of this task is read; `experiments.common.reading` says what for."""

import numpy as np

from experiments.common.batches import pad
from experiments.common.reading import Reading
from experiments.translation.tokens import START, STOP
from experiments.translation.translator import translator_of


def read(model, config, texts):
    """What the network writes for the texts, piece by piece; for each piece how many were written before it,
    how many are yet to come, and about where in the text the decoder attends, if it does.
    """
    translator = translator_of(model, config)
    found = [best for best, *_ in translator.translate(texts, config["options"]["beam"])]
    number = {name: at for at, name in enumerate(translator.target.names)}
    said = pad([[number[START], *map(int, each.numbers)] for each in found])
    tokens = [[*each.pieces, STOP] for each in found]
    labels = {
        "pieces written": [np.arange(len(row), dtype=float) for row in tokens],
        "pieces to come": [np.arange(len(row), dtype=float)[::-1] for row in tokens],
    }
    return Reading([np.array(texts, object), said], tokens, labels, opens_on_swing=False, layers="decoder")
