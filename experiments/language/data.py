"""Texts in three parts: the standard library, tiny Shakespeare, and the user's own."""

import dataclasses
import hashlib
import json
from pathlib import Path

from experiments.common import prepared, python_source
from experiments.common.errors import InputError
from experiments.common.texts import decoded

PARTS = ("train", "validation", "test")
# Where the second and the third part of a text begin.
SPLITS = {"90/10": (0.85, 0.9), "90/5/5": (0.9, 0.95)}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text in three parts.

    split: in words, how the text was split.
    """

    train: str
    validation: str
    test: str
    split: str

    def parts(self):
        return {name: getattr(self, name) for name in PARTS}

    def fingerprint(self):
        """A hash of the parts: tells whether two runs saw the same data."""
        return hashlib.sha256(json.dumps(self.parts()).encode()).hexdigest()


def read(dataset, split, limit=None):
    """The text of that name or path, in parts.

    dataset: "python", "tiny_shakespeare", or the path of a text file or of a folder of text files.
    split: one of `SPLITS`; the standard library has a split of its own.
    limit: at most so many characters of each part, the first ones.

    Raises `InputError` for a dataset that cannot be read.
    """
    corpus = _standard_library() if dataset == "python" else _cut(_text_of(dataset), split)
    return dataclasses.replace(corpus, **{name: part[:limit] for name, part in corpus.parts().items()})


def _standard_library():
    parts = {name: "\n".join(python_source.sources(name)) for name in PARTS}
    return Corpus(**parts, split="modules, by a hash of their names")


def _cut(text, split):
    second, third = (int(share * len(text)) for share in SPLITS[split])
    return Corpus(
        train=text[:second],
        validation=text[second:third],
        test=text[third:],
        split=f"in order: {second:,} characters, {third - second:,} and the last {len(text) - third:,}",
    )


def _text_of(dataset):
    if dataset == "tiny_shakespeare":
        return _tiny_shakespeare()
    path = Path(dataset)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"--dataset {dataset} is neither python, tiny_shakespeare, a file nor a folder.")
    text = decoded(path.read_bytes(), path)
    if not text:
        raise InputError(f"{path} is empty.")
    return text


def _tiny_shakespeare():
    """All 1,115,394 characters in their order: the dataset's own split, 90/5/5, joined."""
    import tensorflow_datasets as tfds

    builder = prepared.builder("tiny_shakespeare")
    parts = (tfds.as_numpy(builder.as_dataset(split=part)) for part in PARTS)
    return "".join(row["text"].decode() for part in parts for row in part)


def _folder(path):
    """All files in a folder and in the folders in it, in order of name, with an empty line between them."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not _is_hidden(file, path)]
    texts = [text for file in files if (text := decoded(file.read_bytes(), file))]
    if not texts:
        raise InputError(f"There is no text in the folder {path}.")
    return "\n\n".join(text.removesuffix("\n") for text in texts) + "\n"


def _is_hidden(file, folder):
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
