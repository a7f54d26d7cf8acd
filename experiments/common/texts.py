"""Texts that a command takes: as arguments, from a file or from the standard input."""

import re
import sys
from pathlib import Path

from experiments.common.errors import InputError


def text_of(arguments):
    """The text of the arguments, of the file that they name, or of the standard input; and its name.

    Raises `InputError` if it is not UTF-8, `OSError` if what looks like a file cannot be read.
    """
    if not arguments:
        return decoded(sys.stdin.buffer.read(), "The standard input"), "The standard input"
    path = Path(arguments[0])
    if len(arguments) == 1 and (path.is_file() or re.fullmatch(r"\S+\.[a-z]+", arguments[0])):
        return decoded(path.read_bytes(), path), str(path)
    return "\n".join(arguments), "The text"


def decoded(content, name):
    """Bytes as text whose lines end in "\\n"."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start}).") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def input_lines():
    """Yield the lines of the standard input as they come. Raises `InputError` at one that is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        yield decoded(line, f"Line {number} of the standard input").rstrip("\n")
