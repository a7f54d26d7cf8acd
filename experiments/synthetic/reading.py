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
    targets = np.where(weights[..., None] > 0, targets, np.nan)
    columns = {f"input {name}": inputs[..., place] for place, name in enumerate(task.features)}
    columns |= {f"target {name}": targets[..., place] for place, name in enumerate(task.outputs)}
    labels = {what: _cut(rows, lengths) for what, rows in columns.items()}
    # a unit cannot follow what is the same everywhere
    told = {what: rows for what, rows in labels.items() if np.nanstd(np.concatenate(rows)) > 0}
    tokens = [[_token(step, task.features) for step in row] for row in _cut(inputs, lengths)]
    return Reading(inputs[:, : max(lengths)], tokens, told, opens_on_swing=False)


def _cut(rows, lengths):
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _token(step, features):
    """The symbol of a step; numbers as they are."""
    if len(features) > 2:
        return features[int(step.argmax())]
    return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in step)
