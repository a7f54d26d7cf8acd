"""How a run of this task is read; `experiments.common.reading` says what for.

A text is what `experiments.common.scenes.picture_of` takes: the path of a picture, or digits:N.
"""

import numpy as np

from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels
from experiments.common.scenes import picture_of


def read(model, config, texts):
    """Glances, named by what the picture is taken for after them; for each label, whether it is that one."""
    check_labels(config, model.output["probabilities"].shape[-1])
    inputs = np.stack([picture_of(text, config) for text in texts])
    names = np.array(config["labels"])
    found = names[model.predict(inputs, verbose=0)["probabilities"].argmax(axis=-1)]
    tokens = [[f"{number}:{label} " for number, label in enumerate(row, 1)] for row in found]
    labels = {str(label): list((found == label).astype(float)) for label in np.unique(found)}
    return Reading(inputs, tokens, labels, opens_on_swing=False)
