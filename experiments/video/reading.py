"""How a run of this task is read; `experiments.common.reading` says what for.

A text is what `experiments.video.films.frames_of` takes: a video file, a folder of frames, or
moving_digits:N.
"""

import itertools

import numpy as np

from experiments.common.pictures import resized, size_of
from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels
from experiments.video.films import frames_of

TAKES_PATHS = True
LONGEST = 300  # frames of a film that are shown


def read(model, config, texts):
    """Frames, named by the label that the network gives them; for each label, whether it gives it here."""
    check_labels(config, model.output["probabilities"].shape[-1])
    size = size_of(config["options"]["size"])
    films = [
        np.stack([resized(frame, size) for frame in itertools.islice(frames_of(text), LONGEST)])
        for text in texts
    ]
    longest = max(map(len, films))
    inputs = np.stack([film[np.minimum(np.arange(longest), len(film) - 1)] for film in films])
    answered = model(inputs, training=False)["labels"].numpy()
    rows = [[label.decode() for label in row[: len(film)]] for row, film in zip(answered, films, strict=True)]
    tokens = [[f"{number}:{label} " for number, label in enumerate(row)] for row in rows]
    labels = {
        label: [np.array([given == label for given in row], float) for row in rows]
        for label in sorted({label for row in rows for label in row})
    }
    return Reading(inputs, tokens, labels, opens_on_swing=False)
