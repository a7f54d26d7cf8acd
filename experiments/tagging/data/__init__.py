"""Corpora of tagged sequences: the one that a command line names."""

from pathlib import Path

from experiments.common.errors import InputError
from experiments.tagging.data import conll, library, treebanks


def is_python(options):
    return options.dataset == "python"


def read(options):
    """The corpus that --dataset names."""
    dataset = options.dataset
    if is_python(options):
        if options.column is not None:
            raise InputError("--dataset python has no columns; leave out --column.")
        return library.read(options.limit)
    if dataset.split("/")[0] in treebanks.COLUMNS:
        return treebanks.read(dataset, options.column, options.limit)
    if not Path(dataset).is_dir():
        known = ", ".join(["python", "universal_dependencies/TREEBANK", "conll2003"])
        raise InputError(f"--dataset {dataset} is neither one of {known} nor a folder.")
    return conll.read_folder(dataset, options.column, options.limit)
