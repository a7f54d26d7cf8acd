"""Pictures of digits with labels, in three parts."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from experiments.common import prepared
from experiments.common.digits import digits
from experiments.common.errors import InputError, reason_of
from experiments.common.splits import split

HELD_OUT = 5_000  # of the training pictures of MNIST, for validation
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclasses.dataclass(frozen=True)
class Part:
    """Pictures uint8 (pictures, height, width), and labels int32 (pictures,)."""

    pictures: np.ndarray
    labels: np.ndarray

    def first(self, limit):
        return Part(self.pictures[:limit], self.labels[:limit])


@dataclasses.dataclass(frozen=True)
class Corpus:
    train: Part
    validation: Part
    test: Part

    def parts(self):
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def classes(self):
        return 1 + int(max(part.labels.max() for part in self.parts().values()))

    def fingerprint(self):
        """A hash of all parts: tells whether two runs saw the same data."""
        digest = hashlib.sha256()
        for part in self.parts().values():
            digest.update(part.pictures.tobytes() + part.labels.tobytes())
        return digest.hexdigest()


def load(dataset, limit=None):
    """The pictures of that name or in that file.

    dataset: "digits", "mnist", or the path of an .npz file with x_train, y_train, x_test and y_test.
    limit: at most so many pictures of each part, the same ones every time.

    Raises `InputError` for a dataset that cannot be had or is not one of such pictures.
    """
    known = {"digits": _packaged, "mnist": _mnist}
    corpus = known[dataset]() if dataset in known else _from_file(dataset)
    if limit is not None:
        corpus = Corpus(**{name: part.first(limit) for name, part in corpus.parts().items()})
    return corpus


def _packaged():
    """5,000 digits of MNIST, split by a hash of the picture."""
    pictures, labels = digits("digits")
    parts = split([picture.tobytes().hex() for picture in pictures])
    return Corpus(**{name: Part(pictures[indices], labels[indices]) for name, indices in parts.items()})


def _mnist():
    import tensorflow_datasets as tfds

    builder = prepared.builder("mnist")
    arrays = []
    for name in ("train", "test"):
        rows = tfds.as_numpy(builder.as_dataset(split=name, batch_size=-1, shuffle_files=False))
        arrays += [rows["image"][..., 0], rows["label"]]
    return _held_out(*arrays)


def _from_file(dataset):
    if not (dataset.endswith(".npz") and Path(dataset).is_file()):
        raise InputError(f"{dataset} is neither digits, mnist nor an .npz file that exists.")
    try:
        with np.load(dataset) as file:
            arrays = [file[name] for name in ARRAYS]
    except Exception as error:  # whatever an archive may raise when it is damaged
        raise InputError(f"{dataset} has no readable {', '.join(ARRAYS)}: {reason_of(error)}.") from error
    for name, pictures, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        if pictures.ndim != 3 or pictures.dtype != np.uint8 or labels.shape != pictures.shape[:1]:
            raise InputError(
                f"{dataset}: expected x_{name} to be uint8 (pictures, height, width) and y_{name} to have a "
                f"label for each, got {pictures.dtype} {pictures.shape} and {labels.shape}."
            )
    return _held_out(*arrays)


def _held_out(pictures, labels, test_pictures, test_labels):
    """The last training pictures as validation."""
    held_out = min(HELD_OUT, len(pictures) // 10)
    labels, test_labels = labels.astype("int32"), test_labels.astype("int32")
    return Corpus(
        Part(pictures[:-held_out], labels[:-held_out]),
        Part(pictures[-held_out:], labels[-held_out:]),
        Part(test_pictures, test_labels),
    )
