"""How a run of this task is read; `experiments.common.reading` says what for.

A text is the number of a test piece, such as "0".
"""

import numpy as np

from experiments.common.batches import pad
from experiments.common.numbered import number_of
from experiments.common.reading import Reading
from experiments.music import data

LONGEST = 300  # frames that are shown


def read(model, config, texts):
    """Test pieces; for each frame how many notes sound, and which is the lowest and the highest."""
    pieces = data.read(config["options"]["dataset"]).test
    pieces = [pieces[number_of(text, len(pieces))][:LONGEST] for text in texts]
    keys = np.arange(data.KEYS) + data.LOWEST
    lowest = [np.where(piece, keys, np.inf).min(axis=1) for piece in pieces]
    highest = [np.where(piece, keys, -np.inf).max(axis=1) for piece in pieces]
    labels = {
        "notes": [piece.sum(axis=1).astype(float) for piece in pieces],
        "lowest note": [np.where(np.isfinite(row), row, np.nan) for row in lowest],
        "highest note": [np.where(np.isfinite(row), row, np.nan) for row in highest],
    }
    tokens = [[data.names_of(frame) for frame in piece] for piece in pieces]
    return Reading(pad(pieces, dtype="float32"), tokens, labels, opens_on_swing=False)
