"""How a run of this task is read; `experiments.common.reading` says what for.

A text is the number of a test sequence, such as "0".
"""

import numpy as np

from experiments.common.errors import InputError
from experiments.common.numbered import number_of
from experiments.common.reading import Reading
from experiments.synthetic.sequences import TEST
from experiments.synthetic.tasks import TASKS


def read(model, config, texts):
    """Test sequences; for each step its inputs and the answers that are right, where answers count."""
    task = TASKS.get(config["options"].get("dataset"))
    if task is None or not isinstance(config.get("rule"), dict):
        raise InputError("The config.json of the run names no task of experiments.synthetic.")
    count = config["examples"]["test"]
    numbers = [number_of(text, count) for text in texts]
    drawn = task.draw(np.random.default_rng([TEST]), count, **config["rule"])
    inputs, targets, weights = (values[numbers] for values in drawn)
    lengths = [np.flatnonzero(row)[-1] + 1 for row in weights]
    longest = max(lengths)
    labels = {}
    for values, names, what in ((inputs, task.features, "input"), (targets, task.outputs, "target")):
        for place, name in enumerate(names):
            rows = (
                np.where(weights > 0, values[..., place], np.nan) if what == "target" else values[..., place]
            )
            labels[f"{what} {name}"] = [row[:length] for row, length in zip(rows, lengths, strict=True)]
    # a unit cannot follow what is the same everywhere
    told = {what: rows for what, rows in labels.items() if np.nanstd(np.concatenate(rows)) > 0}
    tokens = [
        [_token(step, task.features) for step in row[:length]]
        for row, length in zip(inputs, lengths, strict=True)
    ]
    return Reading(inputs[:, :longest], tokens, told, opens_on_swing=False)


def _token(step, features):
    """The symbol of a step; numbers as they are."""
    if len(features) > 2:
        return features[int(step.argmax())]
    return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in step)
