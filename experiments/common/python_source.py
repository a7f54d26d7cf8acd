"""The standard library's own source in three parts, and what the standard tokenizer says of any source.

Nothing is downloaded: the files are those of the running interpreter.
"""

import builtins
import contextlib
import hashlib
import io
import itertools
import keyword
import sysconfig
import token
import tokenize
from pathlib import Path

import numpy as np

from experiments.common.errors import InputError

TAGS = (
    "white space",
    "keyword",
    "builtin",
    "name",
    "defined name",
    "string",
    "comment",
    "number",
    "operator",
)
_CODE = {name: code for code, name in enumerate(TAGS)}
_BUILTINS = frozenset(dir(builtins))
_PLAIN = {
    token.STRING: "string",
    token.NUMBER: "number",
    token.OP: "operator",
    token.COMMENT: "comment",
}
# Since 3.12 an f-string (since 3.14 a t-string too) comes in pieces: a start, middles, the tokens of its
# replacement fields, an end. Before, it was one STRING. It is one string here under every version.
_OPENS = {getattr(token, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(token, name)}
_CLOSES = {getattr(token, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(token, name)}

# Tests hold bad syntax on purpose; the tables of `encodings`, the one string that is `pydoc_data` and what
# the build of the interpreter wrote are not what people call source; many systems leave IDLE away.
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "encodings", "pydoc_data", "idlelib"}
_GENERATED = "_sysconfigdata"


def label(text):
    """The label of every character of a Python source text.

    Args:
        text: the source; its lines end in "\\n".

    Returns:
        A uint8 array of shape `(len(text),)`: positions in `TAGS`. What lies between the tokens, the
        backslash that continues a line included, is white space.

    Raises:
        SyntaxError, tokenize.TokenError: `text` is not Python of the running version.
    """
    line_starts = list(itertools.accumulate((len(line) for line in _lines(text)), initial=0))
    labels = np.zeros(len(text), np.uint8)
    for kind, (row, column), (end_row, end_column) in _tokens(text):
        labels[line_starts[row - 1] + column : line_starts[end_row - 1] + end_column] = _CODE[kind]
    return labels


def _lines(text):
    # not str.splitlines, which also breaks at form feeds and the like, where the tokenizer does not
    return io.StringIO(text, newline="\n")


def _tokens(text):
    """Yield the label, start and end of every token that has one, f-strings as one token."""
    opened, before = [], ""
    for piece in tokenize.generate_tokens(_lines(text).readline):
        if piece.type in _OPENS:
            opened.append(piece.start)
        elif piece.type in _CLOSES:
            start = opened.pop()
            if not opened:
                yield "string", start, piece.end
        elif not opened and (kind := _kind(piece, before)):
            yield kind, piece.start, piece.end
        before = piece.string


def _kind(piece, before):
    if piece.type != token.NAME:
        return _PLAIN.get(piece.type)
    if keyword.iskeyword(piece.string):
        return "keyword"
    if before in ("def", "class"):
        return "defined name"
    return "builtin" if piece.string in _BUILTINS and before != "." else "name"


def part_of(module):
    """The part of a module, by a hash of its top-level name: packages stay whole, and nothing ever moves."""
    top_level = module.split(".")[0]
    draw = hashlib.sha256(top_level.encode()).digest()[0] % 16
    return {0: "validation", 1: "test", 2: "test"}.get(draw, "train")


def modules(folder=None):
    """The source files of the standard library, as a dict from dotted name to path, in order of name.

    folder: where to look instead of in the running interpreter's library.
    """
    folder = Path(folder or sysconfig.get_path("stdlib"))
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if not _LEFT_OUT & set(parts) and not parts[0].startswith(_GENERATED):
            found[".".join(parts)] = path
    if not found:
        raise InputError(f"There are no source files of the standard library in {folder}.")
    return found


def sources(part, limit=None, folder=None):
    """Yield the text of every module of a part whose encoding is what it declares, in order of name.

    The library also carries templates that are no Python; they are among them.

    part: "train", "validation" or "test".
    limit: how many modules to read, drawn evenly over their names; all by default.
    folder: where to look instead of in the running interpreter's library.
    """
    found = modules(folder)
    for name in _drawn([name for name in found if part_of(name) == part], limit):
        with contextlib.suppress(SyntaxError, UnicodeDecodeError), tokenize.open(found[name]) as file:
            if text := file.read():
                yield text


def _drawn(names, limit):
    if limit is None or limit >= len(names):
        return names
    return [names[at * len(names) // limit] for at in range(limit)]


def columns(text):
    """How many characters of its line stand before each character, `(len(text),)`."""
    starts = np.maximum.accumulate([at if at == 0 or text[at - 1] == "\n" else 0 for at in range(len(text))])
    return np.arange(len(text), dtype=float) - starts
