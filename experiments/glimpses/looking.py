"""A picture as an exported model sees it: the path of its eye, and what it takes it for after each glance."""

from typing import NamedTuple

import numpy as np

from experiments.common.run_folder import check_labels


class Glances(NamedTuple):
    """What was seen of a picture.

    label: what it is taken for after the last glance.
    probabilities: of that label, after each glance, (glances,).
    centres: where each glance looked, column and row in pixels, (glances, 2).
    edges: the edge in pixels of the square that it saw, (glances,).
    """

    label: str
    probabilities: np.ndarray
    centres: np.ndarray
    edges: np.ndarray


def look_at(model, config, picture):
    """The `Glances` of a run's SavedModel, loaded, at one picture."""
    told = {name: np.asarray(x)[0] for name, x in model.trace(picture[None]).items()}
    check_labels(config, told["probabilities"].shape[-1])
    label = told["labels"].decode()
    probabilities = told["probabilities"][:, config["labels"].index(label)]
    options = config["options"]
    if options["reader"] == "draw":
        centres = told["glances_center"]
        edges = told["glances_stride"][:, 0] * options["patch"]
    else:
        centres = (told["glances_location"] + 1) / 2 * (np.array(picture.shape[::-1]) - 1)
        edges = np.full(len(centres), options["patch"])
    return Glances(label, probabilities, centres, edges)
