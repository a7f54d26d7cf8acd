"""Pictures in files with a table of captions: the layout of Flickr8k, or any CSV."""

import csv
import re
from pathlib import Path

import numpy as np

from experiments.captioning.data.captioned import Captioned, Part
from experiments.common.errors import InputError
from experiments.common.pictures import read_picture, resized
from experiments.common.splits import split
from experiments.common.texts import decoded

TABLE, PICTURES = "captions.txt", "Images"  # in a folder as that of Flickr8k
FILE = ("image", "file")  # what the column of the files may be called


def read(dataset, size, limit=None):
    """The pictures of a table, resized, with their captions, split by a hash of the name of the file.

    dataset: a folder with captions.txt, whose columns are image and caption, and the pictures in Images; or a
        CSV file with the columns file and caption, whose files are named from its own folder. A picture may
        have several captions, a row for each.
    size: (height, width).
    limit: read at most so many pictures of each part.
    """
    path = Path(dataset)
    table, folder = (path / TABLE, path / PICTURES) if path.is_dir() else (path, path.parent)
    captions = _captions(table)
    files = list(captions)
    parts = {
        name: _part([files[index] for index in indices[:limit]], captions, folder, size)
        for name, indices in split(files).items()
    }
    return Captioned(parts["train"], parts["validation"], {"": parts["test"]})


def normalised(caption):
    """The words of a caption in lower case, without punctuation, as captions are usually compared."""
    return " ".join(re.findall(r"[^\W_]+", re.sub("['’]", "", caption.lower())))


def _captions(table):
    """By the name of a file, the captions of its picture, each once."""
    if not table.is_file():
        raise InputError(f"There is no file {table}.")
    lines = decoded(table.read_bytes(), table).splitlines(keepends=True)
    rows, captions = csv.DictReader(lines), {}
    file = next((name for name in FILE if name in (rows.fieldnames or ())), None)
    if file is None or "caption" not in rows.fieldnames:
        found = ", ".join(rows.fieldnames or ()) or "nothing"
        raise InputError(f"{table} must have the columns file, or image, and caption; found {found}.")
    for row in rows:
        caption = normalised(row["caption"] or "")
        if not row[file] or not caption:
            what = "caption has no word" if row[file] else "name of the file is missing"
            raise InputError(f"{table}, line {rows.line_num}: the {what}.")
        captions.setdefault(row[file], {})[caption] = None
    return {name: tuple(found) for name, found in captions.items()}


def _part(files, captions, folder, size):
    pictures = np.zeros((len(files), *size, 3), "uint8")
    for picture, file in zip(pictures, files, strict=True):
        picture[:] = resized(read_picture(folder / file), size)
    return Part(pictures, [captions[file] for file in files])
