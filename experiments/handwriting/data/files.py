"""Drawings in the .npz files of sketch-rnn."""

import pickle
import zipfile
from pathlib import Path

import numpy as np

from experiments.common.errors import InputError, reason_of
from experiments.common.splits import split
from experiments.handwriting.data.strokes import Corpus, Writing

NAMES = {"train": "train", "validation": "valid", "test": "test"}
FARTHEST = 1e9  # that a pen may move
# What a pickled array of arrays calls, under the names that versions of NumPy have for it. A pickle could
# call anything else too: that is refused.
_EMPTY_ARRAY = np.empty(0).__reduce__()[0]
HARMLESS = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _EMPTY_ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _EMPTY_ARRAY,
}


def read(path):
    """The drawings of a file whose arrays train, valid and test hold stroke-3 arrays (points, 3).

    Where there is only a training part, the others are split off it by a hash. Whole numbers get noise of one
    unit, uniform and always the same: a density could grow without limit at whole numbers.

    Raises `InputError` if the file cannot be read or holds something else.
    """
    try:
        arrays = _arrays(path)
        parts = {part: _writings(arrays[name]) for part, name in NAMES.items() if name in arrays}
    except Exception as error:  # whatever a damaged or another file may raise
        raise InputError(
            f"{path} is no file of drawings, with arrays train, valid and test of stroke-3 arrays: "
            f"{reason_of(error)}."
        ) from error
    if parts.keys() == NAMES.keys():
        return Corpus(**parts, split="that of the file")
    if parts.keys() != {"train"}:
        raise InputError(f"{path} has the parts {', '.join(parts) or 'none'}; expected all three, or train.")
    everything = parts["train"]
    indices = split([writing.strokes.tobytes().hex() for writing in everything])
    parts = {part: [everything[at] for at in indices[part]] for part in NAMES}
    return Corpus(**parts, split="by a hash of the drawing")


def _arrays(path):
    """The arrays of a file by name. Of pickled ones only arrays of arrays are read, and nothing is run."""
    with zipfile.ZipFile(path) as archive:
        return {Path(name).stem: _array(archive, name) for name in archive.namelist()}


def _array(archive, name):
    form = np.lib.format
    with archive.open(name) as file:
        is_first = form.read_magic(file) == (1, 0)
        _, _, dtype = (form.read_array_header_1_0 if is_first else form.read_array_header_2_0)(file)
        if dtype.hasobject:
            return _Unpickler(file, encoding="latin1").load()
    with archive.open(name) as file:
        return form.read_array(file, allow_pickle=False)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return HARMLESS[module, name]


def _writings(arrays):
    """The drawings of a part; one of a single point shows nothing and is left out."""
    rng = np.random.default_rng(0)
    writings = []
    for array in arrays:
        array = np.asarray(array)
        if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iuf":
            raise ValueError(f"a drawing is {array.dtype} of the shape {array.shape}, not (points, 3)")
        if not np.isin(array[:, 2], (0, 1)).all():
            raise ValueError("the third column of a drawing has other values than 0 and 1")
        strokes = array.astype("float64")
        if array.dtype.kind != "f":
            strokes[:, :2] += rng.uniform(-0.5, 0.5, (len(strokes), 2))
        strokes[:1, :2] = 0
        if not (np.abs(strokes) < FARTHEST).all():
            raise ValueError(f"a drawing has movements that are not finite, or {FARTHEST:.0g} or more")
        if len(strokes) > 1:
            writings.append(Writing("", strokes.astype("float32")))
    if not writings:
        raise ValueError("a part has no drawing")
    return writings
