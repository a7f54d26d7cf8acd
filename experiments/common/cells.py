"""Cells by the names that a command line gives them: a short name, or a class in a file of the user's."""

import argparse
import importlib.util
import re
from pathlib import Path

import keras_gates
from experiments.common.errors import reason_of
from keras_gates.cells import GatedCell, register


def cell_name(text):
    """The type of a cell's name: a short name, or `path.py:Class`, which the file is run for.

    Such a class is then in `keras_gates.cell_classes()`, under the text.
    """
    if text not in keras_gates.cell_classes():
        if not is_in_file(text):
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(keras_gates.cell_classes())}; "
                "or give a class of your own as path.py:Class)"
            )
        register(text)(_class_in_file(*text.rsplit(":", 1)))
    return text


def is_in_file(cell):
    """Whether the name of a cell is that of a class in a file, which is run to have it."""
    return re.fullmatch(r".+\.py:\w+", cell) is not None


def plain_name(cell):
    """The name of a cell as a part of the names of layers and folders."""
    return re.sub(r"\W", "_", cell.rpartition(":")[2])


def _class_in_file(path, name):
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {path}")
    try:
        spec = importlib.util.spec_from_file_location(re.sub(r"\W", "_", path), path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file may raise
        raise argparse.ArgumentTypeError(f"{path} cannot be run: {reason_of(error)}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, GatedCell)):
        raise argparse.ArgumentTypeError(f"{path} has no class {name} that is a keras_gates.cells.GatedCell")
    return found
