"""The files of a corpus that brings its own split, recognised by the names that such files have."""

import re
from pathlib import Path

from experiments.common.errors import InputError

PARTS = {
    "train": ("train", "training"),
    "validation": ("dev", "valid", "validation", "val", "testa"),
    "test": ("test", "testb"),
}


def parts_in(place, is_wanted):
    """The paths of the parts "train", "validation" and "test" that a folder has, by name of the part.

    A name says its part in one of the words of which it consists, as `train.csv`, `ratings_test.txt`,
    `en_ewt-ud-dev.conllu` and `esp.testa` do.

    place: a folder; or a folder and the beginning of the names in it that count, such as `conll2002/esp`.
    is_wanted: whether a path in the folder counts.

    Raises `InputError` if there are two of a part.
    """
    place = Path(place)
    if place.is_file():
        return {}
    folder, beginning = (place, "") if place.is_dir() else (place.parent, place.name)
    found = {}
    for path in sorted(folder.glob("*")):
        part = part_of(path.name)
        if part is None or not _continues(path.name, beginning) or not is_wanted(path):
            continue
        found.setdefault(part, []).append(path)
    for part, several in found.items():
        if len(several) > 1:
            names = " and ".join(path.name for path in several)
            raise InputError(f"{folder} has more than one {word_of(part)} file: {names}.")
    return {part: several[0] for part, several in found.items()}


def part_of(name):
    """The part that the words of a file's name say; None if they say none or several."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    parts = [part for part, names in PARTS.items() if words & set(names)]
    return parts[0] if len(parts) == 1 else None


def word_of(part):
    """What a part is usually called in the name of a file."""
    return {"train": "train", "validation": "dev", "test": "test"}[part]


def _continues(name, beginning):
    """Whether a name has that beginning, and after it another word."""
    return not beginning or (name.startswith(beginning) and not name[len(beginning) :][:1].isalnum())
