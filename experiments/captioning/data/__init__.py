"""Pictures with captions: those that a command line names."""

from pathlib import Path

from experiments.captioning.data import coco, folders, glyphs
from experiments.common.errors import InputError
from experiments.common.pictures import size_of

GLYPHS = "glyphs"


def read(dataset, size, limit=None):
    """The pictures and captions of a dataset.

    dataset: "glyphs", "coco_captions", or the path of a folder or of a CSV file.
    size: of the pictures, such as "48x48".
    limit: at most so many pictures of each part, the same ones every time.

    Raises `InputError` for a dataset that cannot be read or cannot be learnt from.
    """
    captioned = _read(dataset, size_of(size), limit)
    captioned.check(dataset)
    return captioned


def _read(dataset, size, limit):
    if dataset == GLYPHS:
        return glyphs.read(size).limited(limit)
    if dataset.split("/")[0] == coco.NAME:
        return coco.read(dataset, size, limit)
    if not Path(dataset).is_dir() and Path(dataset).suffix != ".csv":
        raise InputError(f"--dataset {dataset} is neither {GLYPHS}, {coco.NAME}, a folder nor a .csv file.")
    return folders.read(dataset, size, limit)
