"""A film as an exported model sees it, label by label."""

from typing import NamedTuple

import numpy as np

from experiments.common.pictures import resized, size_of
from experiments.common.run_folder import check_labels


class Seen(NamedTuple):
    """A frame, the label that it was given, and how probable that is."""

    frame: np.ndarray
    label: str
    probability: float


def watch(model, config, frames):
    """Yield a `Seen` for each frame: as they come, or at the end if the model looks ahead.

    model: the run's SavedModel, loaded. One that runs in steps needs memory for one frame only.
    """
    if "step" in model.saved.signatures:
        stream = model.stream()
        for frame in frames:
            yield _seen(frame, stream.push(frame[None]), 0, config)
        return
    frames = list(frames)
    size = size_of(config["options"]["size"])
    told = model(np.stack([resized(frame, size) for frame in frames])[None])
    for at, frame in enumerate(frames):
        yield _seen(frame, {name: outputs[0] for name, outputs in told.items()}, at, config)


def _seen(frame, outputs, at, config):
    probabilities = np.asarray(outputs["probabilities"][at])
    check_labels(config, len(probabilities))
    label = np.asarray(outputs["labels"])[at]
    return Seen(frame, label.decode(), float(probabilities.max()))
