"""Vectors of words from a file in the text format of word2vec, GloVe and fastText.

A line has a word and the numbers of its vector, with a space or a tab between them. A line before them may
say how many words and how many numbers there are. The file may be packed, as .gz or alone in a .zip. It is
read line by line, and only the vectors that are wanted are kept.
"""

import contextlib
import gzip
import itertools
import re
import zipfile
from pathlib import Path

import numpy as np

from experiments.common import tables
from experiments.common.errors import InputError, reason_of

LONGEST = 2**20  # bytes of a line
HEADER = re.compile(rb"\d+[ \t]+(\d+)")
NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def width_of(path):
    """How many numbers a vector of the file has. Raises `InputError` if the file is damaged."""
    with contextlib.closing(_lines(path)) as lines:
        return _width(path, *next(lines))


def read(path, words):
    """The vectors of those words that the file has, as a dict of float32 arrays (width,).

    A word that it lacks gets the vector of its lower-case form, if there is one. Of several vectors of a word
    the first counts.

    Raises `InputError` if the file is damaged: its message names the line.
    """
    forms = {word.encode() for word in words} | {word.lower().encode() for word in words}
    found = {}
    for form, vector in _vectors(path, forms):
        found.setdefault(form, vector)
    at = {word: found.get(word.encode(), found.get(word.lower().encode())) for word in words}
    return {word: vector for word, vector in at.items() if vector is not None}


def read_first(path, most):
    """The vectors of the first words of the file, which are the most frequent ones, as `read` gives them.

    What is no text in UTF-8 is left out.
    """
    found = {}
    for form, vector in _vectors(path):
        if len(found) == most:
            break
        with contextlib.suppress(UnicodeDecodeError):
            found.setdefault(form.decode(), vector)
    return found


def _vectors(path, forms=None):
    """Yield the words of the file, as bytes, with their vectors; of `forms` alone, unless it is None."""
    lines = _lines(path)
    number, first = next(lines)
    width = _width(path, number, first)
    if not HEADER.fullmatch(first):
        lines = itertools.chain([(number, first)], lines)
    for number, line in lines:
        form, *numbers = line.rsplit(None, width) or [b""]
        if len(numbers) < width or _goes_on_in_numbers(form):
            raise InputError(f"{path}, line {number}: expected a word and {width} numbers.")
        if forms is None or form in forms:
            yield form, _vector(path, number, numbers)


def _goes_on_in_numbers(form):
    """Whether what should be a word is a word with numbers after it; some words of GloVe hold spaces."""
    return any(NUMBER.fullmatch(part) for part in form.split()[1:])


def _vector(path, number, numbers):
    if not all(map(NUMBER.fullmatch, numbers)):
        wrong = next(text for text in numbers if not NUMBER.fullmatch(text))
        raise InputError(f"{path}, line {number}: {wrong.decode(errors='replace')!r} is not a number.")
    return np.array(numbers, "S").astype("float32")


def _width(path, number, first):
    header = HEADER.fullmatch(first)
    width = int(header[1]) if header else len(first.split()) - 1
    if width < 1:
        raise InputError(f"{path}, line {number}: expected a word and the numbers of its vector.")
    return width


def _lines(path):
    """Yield the number and the bytes of each line, without the white space at its end."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with _opened(path) as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                if len(line) == LONGEST:
                    raise InputError(f"{path}, line {number}: expected at most {LONGEST:,} bytes.")
                yield number, line.rstrip()
            if not number:
                raise InputError(f"{path} is empty.")
    except tables.DAMAGES as error:
        raise InputError(f"{path} cannot be unpacked: {reason_of(error)}.") from error


@contextlib.contextmanager
def _opened(path):
    with contextlib.ExitStack() as stack:
        if path.suffix.lower() == ".gz":
            yield stack.enter_context(gzip.open(path))
        elif path.suffix.lower() == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            yield stack.enter_context(archive.open(tables.only_member(path, archive)))
        else:
            yield stack.enter_context(path.open("rb"))
