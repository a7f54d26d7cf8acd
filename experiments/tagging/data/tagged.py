"""What every corpus of tagged sequences is: elements and their tags, in three parts."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PARTS = ("train", "validation", "test")


class Tagged(NamedTuple):
    """A sequence with a tag for each element.

    `elements` is a list of words, or a text whose elements are its characters. `tags`, of shape
    `(len(elements),)`, holds positions in the corpus' list of tags.
    """

    elements: Sequence[str]
    tags: np.ndarray


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Tagged sequences in three parts; `names` holds the tags' names by index."""

    train: list[Tagged]
    validation: list[Tagged]
    test: list[Tagged]
    names: tuple[str, ...]

    def parts(self):
        return {name: getattr(self, name) for name in PARTS}

    def fingerprint(self):
        """A hash of all elements and tags: tells whether two runs saw the same data."""
        digest = hashlib.sha256("\0".join(self.names).encode())
        for name, part in self.parts().items():
            digest.update(name.encode())
            for elements, tags in part:
                digest.update("\0".join(elements).encode())
                digest.update(np.asarray(tags, "<i4").tobytes())
        return digest.hexdigest()


def corpus_of(parts, limit=None):
    """The corpus of `{part: [(words, names of tags), …]}`; its tags are all that occur, in order of name.

    limit: at most so many sentences of each part, the first ones.
    """
    parts = {part: sentences[:limit] for part, sentences in parts.items()}
    names = sorted({name for sentences in parts.values() for _, tags in sentences for name in tags})
    index = {name: at for at, name in enumerate(names)}
    numbered = {
        part: [Tagged(words, np.array([index[tag] for tag in tags], np.int32)) for words, tags in sentences]
        for part, sentences in parts.items()
    }
    return Corpus(**numbered, names=tuple(names))
