"""Tagged sentences from files in CoNLL columns: one word a line, an empty line between sentences."""

from pathlib import Path

from experiments.common.errors import InputError
from experiments.common.parts import part_of, parts_in, word_of
from experiments.common.splits import split_off
from experiments.common.tables import unpacked
from experiments.tagging.data.tagged import PARTS, corpus_of

FILES = ("train", "dev", "test")
SUFFIXES = (".conll", ".txt", ".tsv", ".conllu", ".bio", ".bio2", ".iob", ".iob2", ".bioes", ".iobes")
ENCODING = "utf-8-sig"
LONGEST = 1_000  # words of a sentence; more are a file without lines between its sentences
UNIVERSAL = {
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT"),
    *("SCONJ", "SYM", "VERB", "X"),
}
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


def read_folder(folder, column=None, limit=None, encoding=ENCODING, **others):
    """The corpus of a folder with a train and a test file, and perhaps a dev file; or of single files.

    folder: holds one file of each part, called as such files are (`parts.parts_in`), with one of `SUFFIXES`
        or with the name of its part as suffix, as `esp.train`, and perhaps .gz; if there are .conllu files,
        only they count. The path may end in the beginning of the names that count, as `conll2002/esp`. Or the
        path of the training file.
    column: where the tags stand, as for `read_file`.
    limit: at most so many sentences of each file.
    others: paths of the files "validation" and "test", in place of those in the folder.

    Without a dev file, a tenth of the sentences for training validates, chosen by a hash; without a test
    file beside a single training file, a fifth is the test.

    Raises `InputError` where a file is missing, is there twice or is not as `read_file` expects it.
    """
    folder = Path(folder)
    found = {"train": folder} if folder.is_file() else parts_in(folder, _counts_in(folder))
    paths = {**found, **{part: Path(path) for part, path in others.items() if path}}
    for part in ("train", "test"):
        if part not in paths and not folder.is_file():
            name = word_of(part)
            raise InputError(f"{folder} has no {name} file: expected {name} with {', '.join(SUFFIXES)}.")
    return corpus_of(
        _with_all_parts({part: read_file(path, column, encoding) for part, path in paths.items()}), limit
    )


def _counts_in(folder):
    """What says whether a path in a folder may be a file of columns."""

    def is_wanted(path):
        name = path.name.lower().removesuffix(".gz")
        suffix = Path(name).suffix
        return path.is_file() and (suffix in SUFFIXES or part_of(suffix) is not None)

    # treebanks come with the raw text in a .txt file beside each .conllu file
    has_conllu = any(".conllu" in path.name.lower() for path in folder.glob("*"))
    return (lambda path: is_wanted(path) and ".conllu" in path.name.lower()) if has_conllu else is_wanted


def _with_all_parts(parts):
    """Take from the training sentences the parts that are absent, and give all in the order of `PARTS`."""
    train = parts["train"]
    kept, taken = split_off([" ".join(words) for words, _ in train], [p for p in PARTS if p not in parts])
    of_train = {part: [train[at] for at in indices] for part, indices in taken.items()}
    parts = {**parts, **of_train, "train": [train[at] for at in kept] if taken else train}
    return {part: parts[part] for part in PARTS}


def read_file(path, column=None, encoding=ENCODING, notes=None):
    """The sentences of one file, each a pair of lists: its words and their tags.

    The columns are separated by tabs, or by any white space where a line has no tab. The word is the first
    column, in `.conllu` the second (FORM), where comments and the lines of multiword tokens and of empty
    nodes (1-2, 8.1) are passed over. Lines that begin with -DOCSTART- are passed over.

    path: a file, or one in a .gz, with either kind of line ends.
    column: where the tags stand: a number that counts from 1 (or from the end, -1 the last) or, in
        `.conllu`, a name such as `xpos`. By default the last, in `.conllu` UPOS.
    encoding: of the file.
    notes: the stream to which it is printed what is passed over or cut; by default the standard output.

    A sentence of more than `LONGEST` words is cut.

    Raises `InputError` where a line has another number of columns than the first, the column is not
    there, the file holds no sentence, or it is not UTF-8.
    """
    path = Path(path)
    is_conllu = ".conllu" in path.name.lower()
    word_at, tag_at = _positions(column, is_conllu, path)
    sentences, words, tags, width, others = [], [], [], None, 0
    for number, line in enumerate([*_lines_of(path, encoding), ""], start=1):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if words:
                sentences.append((words, tags))
            words, tags = [], []
            continue
        if is_conllu and line.startswith("#"):
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        width = width or _width(columns, word_at, tag_at, f"{path}, line {number}")
        if len(columns) != width:
            raise InputError(
                f"{path}, line {number}: expected {width} columns, as in the first line; "
                f"got {len(columns)}: {line!r}."
            )
        if is_conllu and not columns[0].isdigit():
            others += 1
            continue
        words.append(columns[word_at])
        tags.append(columns[tag_at])
    if not sentences:
        raise InputError(f"{path} holds no sentence.")
    if others:
        print(
            f"{path}: {others:,} multiword tokens and empty nodes are passed over; the words are those of "
            "the treebank, while `predict` splits raw text at white space and punctuation.",
            file=notes,
        )
    return _cut(sentences, path, notes)


def _cut(sentences, path, notes):
    """Sentences, those of more than `LONGEST` words cut: one such in a batch would take much memory."""
    long = sum(len(words) > LONGEST for words, _ in sentences)
    if long:
        print(f"{path}: {long:,} sentences have more than {LONGEST:,} words and are cut.", file=notes)
    return [
        (words[start : start + LONGEST], tags[start : start + LONGEST])
        for words, tags in sentences
        for start in range(0, len(words), LONGEST)
    ]


def column_of(column, tags):
    """The name of the column of a .conllu file that holds such tags; None if it has none.

    column: what the user said, as for `read_file`.
    """
    if column is None:
        return "upos" if UNIVERSAL.issuperset(tags) else None
    name = str(column).lower()
    return name if name in CONLLU else None


def with_tags(text, tags, column):
    """The text of a .conllu file with other tags for its words.

    tags: one for each word, in order.
    column: the name of the column that they replace.
    """
    tags, at, lines = iter(tags), CONLLU.index(column), []
    for line in text.split("\n"):
        columns = line.split("\t")
        if columns[0].isdigit():
            columns[at] = next(tags)
        lines.append("\t".join(columns))
    return "\n".join(lines)


def _lines_of(path, encoding):
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    _, content = unpacked(path)
    try:
        text = content.decode(encoding)
    except LookupError:
        raise InputError(f"--encoding {encoding} is none that Python knows.") from None
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == ENCODING else encoding
        raise InputError(
            f"{path} is not {name}: byte {error.start} cannot be read; name its encoding with --encoding."
        ) from None
    # not splitlines, which breaks at characters that may be part of a word, such as U+0085
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _positions(column, is_conllu, path):
    """The positions of the word and of the tag in a line, from 0."""
    if column is None:
        return (1, CONLLU.index("upos")) if is_conllu else (0, -1)
    if is_conllu and str(column).lower() in CONLLU:
        return 1, CONLLU.index(str(column).lower())
    try:
        position = int(column)
    except ValueError:
        position = 0
    if position == 0:
        names = f", or one of {', '.join(CONLLU)}" if is_conllu else ""
        raise InputError(
            f"{path}: --column is a number that counts from 1, or from the end if negative{names}; "
            f"got {column!r}."
        )
    return (1 if is_conllu else 0), position - (position > 0)


def _width(columns, word_at, tag_at, where):
    """The number of columns, once it is clear that both the word and the tag are among them."""
    width = len(columns)
    needed = max(position + 1 if position >= 0 else -position for position in (word_at, tag_at))
    if width < needed or tag_at % width == word_at:
        raise InputError(f"{where}: expected a word and its tag in columns; got {columns!r}.")
    return width
