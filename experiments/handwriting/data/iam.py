"""Lines of the IAM On-Line Handwriting Database (Liwicki & Bunke 2005), from the folder that one unpacks."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from experiments.common.errors import InputError, reason_of
from experiments.common.splits import position
from experiments.common.texts import decoded
from experiments.handwriting.data.strokes import PARTS, Corpus, Writing, strokes_of

# Lists of forms, as the database has them for its task of recognition.
LISTS = {
    "train": ("trainset.txt",),
    "validation": ("testset_v.txt",),
    "test": ("testset_t.txt", "testset_f.txt"),
}
TEST, VALIDATION = 0.2, 0.1  # of the forms, where there are no such lists


def read(folder):
    """The lines in a folder that has `lineStrokes` with .xml files and `ascii` with .txt files.

    The folders may lie deeper, and a form's file is found by its name. A line without a text is left out. The
    lists trainset.txt, testset_v.txt, testset_t.txt and testset_f.txt say which forms belong to a part; where
    one of the three parts has none, forms are split by a hash of their names.

    Raises `InputError` if a file is damaged, or there are no lines.
    """
    folder = Path(folder)
    texts = {path.stem: path for path in folder.rglob("*.txt") if "ascii" in _folders(path, folder)}
    lines = [path for path in sorted(folder.rglob("*.xml")) if "linestrokes" in _folders(path, folder)]
    part_of, split = _split(folder)
    said, parts = {}, {part: [] for part in PARTS}
    for path in lines:
        form, _, number = path.stem.rpartition("-")
        part = part_of(form)
        if part is None or form not in texts:
            continue
        if form not in said:
            said[form] = _lines_of_text(texts[form])
        at = int(number) - 1 if number.isdecimal() else -1
        if 0 <= at < len(said[form]) and len(strokes := _strokes(path)) > 1:
            parts[part].append(Writing(said[form][at], strokes))
    for part, writings in parts.items():
        if not writings:
            raise InputError(
                f"{folder} has no lines for its {part} part: expected lineStrokes/…/FORM-01.xml, …, with "
                "ascii/…/FORM.txt."
            )
    return Corpus(**parts, split=split)


def _folders(path, root):
    """The names of the folders between a path and the root, without what archives append."""
    return {part.lower().removesuffix("-all") for part in path.relative_to(root).parts[:-1]}


def _split(folder):
    """A function from a form's name to its part or None, and how it splits, in words."""
    files = {path.name: path for path in sorted(folder.rglob("*.txt"))}
    forms = {
        part: {form for name in names if name in files for form in _text(files[name]).split()}
        for part, names in LISTS.items()
    }
    if all(forms.values()):
        by_list = {form: part for part, own in forms.items() for form in own}
        return by_list.get, "the lists of forms in the folder"

    def by_hash(form):
        place = position(form)
        return "test" if place < TEST else "validation" if place < TEST + VALIDATION else "train"

    return by_hash, "forms by a hash of their names"


def _text(path):
    return decoded(path.read_bytes(), path)


def _lines_of_text(path):
    """The lines of a form, those after "CSR:"."""
    _, found, text = _text(path).partition("CSR:")
    if not found:
        raise InputError(f"{path} has no part CSR:, with the lines of a form.")
    return [re.sub(r"\s+", " ", line).strip() for line in text.strip().split("\n")]


def _strokes(path):
    """The strokes of a line's file."""
    try:
        root = ElementTree.parse(path).getroot()
        lines = [
            np.array([[float(point.get("x")), float(point.get("y"))] for point in stroke.iter("Point")])
            for stroke in root.iter("Stroke")
        ]
        return strokes_of([line for line in lines if len(line)])
    except Exception as error:  # whatever a damaged file may raise
        raise InputError(f"{path} is no line of IAM-OnDB: {reason_of(error)}.") from error
