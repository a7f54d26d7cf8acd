"""How a finished run is read, without knowing its task.

The tools that take any run read the name of its task from its config.json, and ask that task's module
`experiments.TASK.reading` for a `Reading` of some texts:

    read(model, config, texts) -> Reading

    model: the run's model.keras, loaded.
    config: the run's config.json, as `run_folder.read_config` returns it.
    texts: a list of strings; of a task that does not read texts, what its module says, such as paths. A
        module whose texts are paths that it reads itself says `TAKES_PATHS = True`.

    Raises `InputError` if a text cannot be read by the model.

A task whose runs can be inspected has such a module; nothing has to be registered. If its networks say
something about a picture, the module has also, for `experiments.serve`:

    see(model, config, picture, question) -> Seen

    picture: uint8 (height, width, 3).
    question: a string, if the module says `ASKS = True`; else None.

    Raises `InputError` if the question cannot be answered.
"""

import importlib
import importlib.util
from typing import NamedTuple

import numpy as np

from experiments.common.errors import InputError


class Reading(NamedTuple):
    """Some texts as a network reads them.

    inputs: what the saved network takes: an array, or a list of one for each input.
    tokens: a list for each text, one string for each step.
    labels: labellings of the steps, by what they describe: a list of arrays, one for each text, with one
        number for each step.
    opens_on_swing: whether the page first shows how much each step changes the memory, rather than the unit
        that follows the first labelling.
    layers: what the names of the layers that run over the steps begin with, where others could have as many.
    """

    inputs: np.ndarray | list
    tokens: list
    labels: dict
    opens_on_swing: bool
    layers: str = ""


class Seen(NamedTuple):
    """What a network says about a picture.

    words: a list of strings.
    probability: of all words together.
    places: how much each place of the picture did for each word, at least 0, (words, rows, columns); None if
        the network does not tell.
    """

    words: list
    probability: float
    places: np.ndarray | None


def reader_of(task):
    """The function `read` of a task, by the task's name.

    Raises `InputError` if there is no such task, or its runs cannot be read.
    """
    read = getattr(_module_of(task), "read", None)
    if read is None:
        raise InputError(
            f"There is no task {task!r} whose runs can be read: no module experiments.{task}.reading."
        )
    return read


def takes_paths(task):
    """Whether the texts of a task are paths of files that it reads itself, rather than their content."""
    return getattr(_module_of(task), "TAKES_PATHS", False)


def seer_of(task):
    """The function `see` of a task, or None; and whether it takes a question."""
    module = _module_of(task)
    return getattr(module, "see", None), getattr(module, "ASKS", False)


def _module_of(task):
    """The module `reading` of a task; None if there is none."""
    if not task.isidentifier():
        return None
    name = f"experiments.{task}.reading"
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # there is not even a package of the task
        return None
    return found and importlib.import_module(name)
