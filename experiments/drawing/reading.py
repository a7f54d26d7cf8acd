"""How a run of this task is read; `experiments.common.reading` says what for.

A text is what `experiments.common.scenes.picture_of` takes: the path of a picture, or digits:N.
"""

import numpy as np

from experiments.common.reading import Reading
from experiments.common.scenes import picture_of


def read(model, config, texts):
    """The steps in which pictures are drawn; for each, what it says of the picture, in nats, and its ink."""
    inputs = np.stack([picture_of(text, config) for text in texts])
    drawn = model.predict(inputs, verbose=0)
    tokens = [[f"{number} " for number in range(1, 1 + len(row))] for row in drawn["kl"]]
    labels = {"nats": list(drawn["kl"]), "ink": list(drawn["canvases"].mean(axis=(2, 3)))}
    return Reading(inputs, tokens, labels, opens_on_swing=False)
