"""Tagged sentences from files in CoNLL columns: one word a line, an empty line between sentences."""

from pathlib import Path

from experiments.common.errors import InputError
from experiments.tagging.data.tagged import PARTS, corpus_of

FILES = ("train", "dev", "test")
SUFFIXES = (".conll", ".txt", ".tsv", ".conllu")
CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


def read_folder(folder, column=None, limit=None):
    """The corpus of a folder with a train, a dev and a test file.

    folder: holds one file of each, named `train`, `dev` and `test` with one of `SUFFIXES`.
    column: where the tags stand, as for `read_file`.
    limit: at most so many sentences of each file.

    Raises `InputError` where a file is missing, is there twice or is not as `read_file` expects it.
    """
    paths = {part: _file_of(Path(folder), name) for part, name in zip(PARTS, FILES, strict=True)}
    return corpus_of({part: read_file(path, column) for part, path in paths.items()}, limit)


def _file_of(folder, name):
    found = [folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").is_file()]
    if not found:
        raise InputError(f"{folder} has no {name} file: expected {name} with {', '.join(SUFFIXES)}.")
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise InputError(f"{folder} has more than one {name} file: {names}.")
    return found[0]


def read_file(path, column=None):
    """The sentences of one file, each a pair of lists: its words and their tags.

    The columns are separated by tabs, or by any white space where a line has no tab. The word is the first
    column, in `.conllu` the second (FORM), where comments and the lines of multiword tokens and of empty
    nodes (1-2, 8.1) are passed over. Lines that begin with -DOCSTART- are passed over.

    path: a UTF-8 file, with either kind of line ends.
    column: where the tags stand: a number that counts from 1 (or from the end, -1 the last) or, in
        `.conllu`, a name such as `xpos`. By default the last, in `.conllu` UPOS.

    Raises `InputError` where a line has another number of columns than the first, the column is not
    there, the file holds no sentence, or it is not UTF-8.
    """
    path = Path(path)
    is_conllu = path.suffix == ".conllu"
    word_at, tag_at = _positions(column, is_conllu, path)
    sentences, words, tags, width = [], [], [], None
    for number, line in enumerate([*_lines_of(path), ""], start=1):
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
            continue
        words.append(columns[word_at])
        tags.append(columns[tag_at])
    if not sentences:
        raise InputError(f"{path} holds no sentence.")
    return sentences


def _lines_of(path):
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: byte {error.start} cannot be read.") from None
    # not splitlines, which breaks at characters that may be part of a word, such as U+0085;
    # read_text has turned \r\n into \n
    return text.split("\n")


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
