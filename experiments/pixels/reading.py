"""How a run of this task is read; `experiments.common.reading` says what for.

A text is the number of a test picture, such as "0".
"""

import argparse

import numpy as np

from experiments.common import mnist
from experiments.common.numbered import number_of
from experiments.common.reading import Reading
from experiments.pixels.network import steps_of


def read(model, config, texts):
    """Test pictures; for each step how much ink it shows, and how much all steps so far."""
    options = argparse.Namespace(**config["options"])
    pictures = mnist.load(options.dataset, options.limit).test.pictures
    pictures = pictures[[number_of(text, len(pictures)) for text in texts]]
    ink = np.asarray(steps_of(pictures / np.float32(255), options)).sum(axis=-1)
    tokens = [[f"{amount:.1f}" for amount in row] for row in ink]
    labels = {"ink": list(ink), "ink so far": list(ink.cumsum(axis=1))}
    return Reading(pictures, tokens, labels, opens_on_swing=False)
