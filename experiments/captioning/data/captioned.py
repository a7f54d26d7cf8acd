"""Pictures with their captions, in parts."""

import dataclasses
import hashlib
import json

import numpy as np

from experiments.common.errors import InputError


@dataclasses.dataclass(frozen=True)
class Part:
    """Pictures and, for each, all captions that are right.

    pictures: uint8 (pictures, height, width, channels), with one channel for grey or three for RGB.
    captions: a tuple of captions for each picture; a caption is a string of words, one space between them.
    """

    pictures: np.ndarray
    captions: list

    def __len__(self):
        return len(self.pictures)

    def take(self, indices):
        return Part(self.pictures[indices], [self.captions[index] for index in indices])

    def examples(self):
        """Every caption with its picture: the indices of the pictures, and the captions."""
        pairs = [(index, caption) for index, captions in enumerate(self.captions) for caption in captions]
        return [index for index, _ in pairs], [caption for _, caption in pairs]


@dataclasses.dataclass(frozen=True)
class Captioned:
    """Pictures with captions to learn from, to validate on, and to be tested on.

    tests: the parts of one test or several, by name.
    """

    train: Part
    validation: Part
    tests: dict

    def parts(self):
        return {"train": self.train, "validation": self.validation, **self.tests}

    def limited(self, limit):
        """The first `limit` pictures of each part."""
        if limit is None:
            return self
        first = {name: part.take(range(min(limit, len(part)))) for name, part in self.parts().items()}
        return Captioned(first.pop("train"), first.pop("validation"), first)

    def check(self, dataset):
        """Raise `InputError` if a part is empty."""
        for name, part in self.parts().items():
            if not len(part):
                raise InputError(f"{dataset} has too few pictures: its {name} part is empty.")

    def fingerprint(self):
        """A hash of all pictures and captions: tells whether two runs saw the same data."""
        digest = hashlib.sha256()
        for name, part in self.parts().items():
            digest.update(json.dumps([name, part.pictures.shape, part.captions]).encode())
            digest.update(part.pictures.tobytes())
        return digest.hexdigest()
