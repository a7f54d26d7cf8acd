"""A picture as an exported model sees it: the path of its eye, and what it takes it for after each glance."""

import re
from typing import NamedTuple

import numpy as np

from experiments.common.errors import InputError
from experiments.common.pictures import read_picture, resized
from experiments.common.run_folder import check_labels
from experiments.glimpses import data
from experiments.glimpses.problem import corpus_of

OF_THE_TEST = re.compile(r"digits:(\d{1,9})")


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


def picture_of(source, config):
    """The picture that a run is asked about, uint8 (height, width), as its network takes it.

    source: the path of a picture, whose colours are inverted if its edge is bright, since digits are white
        on black here; or "digits:N", picture N of the test part of the run's own digits, in a scene as in
        training.

    Raises:
        InputError: there is no such picture, or it cannot be read.
        OSError: there is no such file.
    """
    options, shape = config["options"], config["shape"]
    if asked := OF_THE_TEST.fullmatch(source):
        digits = corpus_of(options).test
        if int(asked[1]) >= len(digits.labels):
            raise InputError(f"The test part has {len(digits.labels)} pictures, from 0; got {source}.")
        scenes = data.Scenes(digits, options["scene"], options["edge"], "test")
        return scenes.batch([int(asked[1])])[0][0]
    grey = resized(read_picture(source), shape).mean(axis=-1).round().astype("uint8")
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return 255 - grey if edge.mean() > 127 else grey


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
