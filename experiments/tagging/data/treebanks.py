"""Tagged sentences from TensorFlow Datasets: the treebanks of Universal Dependencies, and CoNLL 2003."""

from experiments.common import prepared
from experiments.common.errors import InputError
from experiments.tagging.data.tagged import PARTS, corpus_of

SPLITS = ("train", "dev", "test")
COLUMNS = {"universal_dependencies": ("upos", "xpos"), "conll2003": ("ner", "pos", "chunks")}


def read(name, column=None, limit=None):
    """A corpus of TensorFlow Datasets.

    name: `universal_dependencies/<treebank>`, such as `universal_dependencies/en_ewt`, or `conll2003`.
    column: what the tags are, one of `COLUMNS`; the first of them by default.
    limit: at most so many sentences of each part.
    """
    columns = COLUMNS[name.split("/")[0]]
    column = column or columns[0]
    if column not in columns:
        raise InputError(f"{name} has the columns {', '.join(columns)}; got --column {column}.")
    builder = prepared.builder(name)
    return corpus_of(
        {part: _sentences(builder, split, column) for part, split in zip(PARTS, SPLITS, strict=True)}, limit
    )


def _sentences(builder, split, column):
    features = builder.info.features
    sentences = []
    for example in builder.as_dataset(split=split).as_numpy_iterator():
        words = [word.decode() for word in example["tokens"]]
        pairs = list(zip(words, _names(features, example, column), strict=True))
        if "upos" in features:
            # a token without part of speech ("don't" beside its parts "do" and "n't") is no word of its own
            kept = _names(features, example, "upos")
            pairs = [pair for pair, part_of_speech in zip(pairs, kept, strict=True) if part_of_speech != "_"]
        if pairs:  # every split of CoNLL 2003 closes with an empty example
            sentences.append(tuple(map(list, zip(*pairs, strict=True))))
    return sentences


def _names(features, example, column):
    """The tags of an example by name: classes are numbers, the rest is text."""
    classes = getattr(features[column].feature, "names", None)
    return [classes[tag] if classes else tag.decode() for tag in example[column]]
