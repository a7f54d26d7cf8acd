"""How a run of this task is read; `experiments.common.reading` says what for.

A text is what `experiments.common.scenes.picture_of` takes: the path of a picture, or digits:N.
"""

import numpy as np

from experiments.common.errors import InputError
from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels
from experiments.common.scenes import picture_of


def read(model, config, texts):
    """The views of a recurrent transformer; for each, how large it is in the picture, and how far turned."""
    check_labels(config, model.output["probabilities"].shape[-1])
    transformer = config["options"]["transformer"]
    if transformer != "recurrent":
        raise InputError(f"A run with --transformer recurrent has gates to inspect; this has {transformer}.")
    inputs = np.stack([picture_of(text, config) for text in texts])
    theta = model.predict(inputs, verbose=0)["theta"]
    tokens = [[f"{number} " for number in range(1, 1 + len(row))] for row in theta]
    area = np.abs(np.linalg.det(theta[..., :2]))
    turn = np.rad2deg(np.arctan2(theta[..., 1, 0], theta[..., 0, 0]))
    return Reading(inputs, tokens, {"area": list(area), "turn": list(turn)}, opens_on_swing=False)
