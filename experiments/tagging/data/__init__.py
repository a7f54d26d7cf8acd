"""Corpora of tagged sequences: the one that a command line names."""

import glob
from pathlib import Path

from experiments.common.errors import InputError
from experiments.tagging.data import conll, library, treebanks


def is_python(dataset):
    return dataset == "python"


def read(options):
    """The corpus that --dataset names."""
    dataset, own = options.dataset, {"validation": options.validation, "test": options.test}
    is_known = is_python(options.dataset) or dataset.split("/")[0] in treebanks.COLUMNS
    if is_known and any(own.values()):
        raise InputError(f"--validation and --test go with the path of a file or folder, not with {dataset}.")
    if is_python(options.dataset):
        if options.column is not None:
            raise InputError("--dataset python has no columns; leave out --column.")
        return library.read(options.limit)
    if is_known:
        return treebanks.read(dataset, options.column, options.limit)
    path = Path(dataset)
    if not path.exists() and not list(path.parent.glob(f"{glob.escape(path.name)}[!a-zA-Z0-9]*")):
        known = ", ".join(["python", "universal_dependencies/TREEBANK", "conll2003"])
        raise InputError(f"--dataset {dataset} is neither one of {known} nor a folder or a file.")
    return conll.read_folder(dataset, options.column, options.limit, options.encoding, **own)
