"""Piano rolls of the four corpora of Boulanger-Lewandowski et al. 2012, as MATLAB files."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from experiments.common.errors import InputError, reason_of

KEYS = 88  # of a piano
LOWEST = 21  # the number of its lowest note in MIDI, A0
PARTS = {"train": "traindata", "validation": "validdata", "test": "testdata"}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pieces in three parts, each a uint8 array (frames, 88), 1 where a note sounds."""

    train: list
    validation: list
    test: list

    def parts(self):
        return {name: getattr(self, name) for name in PARTS}

    def fingerprint(self):
        """A hash of all pieces: tells whether two runs saw the same data."""
        digest = hashlib.sha256()
        for part in self.parts().values():
            for piece in part:
                digest.update(repr(piece.shape).encode() + piece.tobytes())
        return digest.hexdigest()


def read(path, limit=None):
    """The corpus in a .mat file, with the split that it comes with.

    limit: at most so many pieces of each part, the first ones.

    Raises `InputError` if there is no such file, or it is not one of piano rolls.
    """
    loadmat = _loadmat()
    if not Path(path).is_file():
        raise InputError(
            f"--dataset: there is no file {path}; give the path of a corpus of piano rolls, such as "
            "JSB_Chorales.mat."
        )
    try:
        content = loadmat(path)
        corpus = Corpus(*(_pieces(content[name])[:limit] for name in PARTS.values()))
    except Exception as error:  # whatever a damaged or another file may raise
        raise InputError(
            f"{path} is no corpus of piano rolls, with pieces of {KEYS} keys as {', '.join(PARTS.values())}: "
            f"{reason_of(error)}."
        ) from error
    return corpus


def _loadmat():
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise InputError(
            f"experiments.music needs SciPy: pip install keras_gates[experiments] ({error})."
        ) from error
    return loadmat


def _pieces(cells):
    """The pieces of a part; one of a single frame foretells nothing and is left out."""
    pieces = [np.asarray(piece) for piece in cells.ravel()]
    for piece in pieces:
        if piece.ndim != 2 or piece.shape[1] != KEYS or not np.isin(piece, (0, 1)).all():
            raise ValueError(f"a piece has the shape {piece.shape}, or other values than 0 and 1")
    pieces = [piece.astype("uint8") for piece in pieces if len(piece) > 1]
    if not pieces:
        raise ValueError("a part has no piece")
    return pieces


def names_of(frame):
    """The names of the notes that sound, such as "C4 E4 G4", from the lowest; "·" for silence."""
    letters = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
    notes = np.flatnonzero(frame) + LOWEST
    return " ".join(f"{letters[note % 12]}{note // 12 - 1}" for note in notes) or "·"
