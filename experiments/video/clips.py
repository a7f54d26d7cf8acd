"""Clips with a label for every frame, and their batches."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from experiments.common.batches import Batches

SIGNATURE = (
    tf.TensorSpec((None, None, None, None, 3), tf.uint8),
    tf.TensorSpec((None, None), tf.int32),
    tf.TensorSpec((None, None), tf.float32),
)


class Clip(NamedTuple):
    """Frames and their labels.

    frames: uint8 (time, height, width, 3).
    labels: whole numbers (time,).
    hidden: bool (time,), in which frames the thing of the label cannot be seen; None if that is not known.
    """

    frames: np.ndarray
    labels: np.ndarray
    hidden: np.ndarray | None = None


class ClipBatches(Batches):
    """Batches of clips: frames, labels, and weights that are 0 beyond the end of a clip.

    clips: an object with `lengths`, a number of frames for each clip, `clip(index)`, and `endless`: whether
        every epoch has clips of its own, of higher indices than those of the epochs before.

    Shorter clips go on with their last frame. A net that reads backwards so begins with a picture that does
    not move, as it also may in a film.
    """

    def __init__(self, clips, batch_size, seed=0):
        self.clips = clips
        super().__init__(clips.lengths, self._collate, SIGNATURE, batch_size, seed)

    def epoch(self, number):
        first = number * len(self.clips.lengths) if self.clips.endless else 0
        return [batch + first for batch in super().epoch(number)]

    def _collate(self, indices):
        some = [self.clips.clip(index) for index in indices]
        longest = max(len(clip.labels) for clip in some)
        places = [np.minimum(np.arange(longest), len(clip.labels) - 1) for clip in some]
        weights = [np.arange(longest) < len(clip.labels) for clip in some]
        return (
            np.stack([clip.frames[at] for clip, at in zip(some, places, strict=True)]),
            np.stack([clip.labels[at] for clip, at in zip(some, places, strict=True)]).astype("int32"),
            np.array(weights, "float32"),
        )
