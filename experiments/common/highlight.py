"""Output formats of tagged text, for people and for programs.

Every format takes sentences, which are lists of `Token`s. `code` says whether the tokens are runs of
characters that are joined without spaces, rather than words.
"""

import colorsys
import json
import re
import shutil
from typing import NamedTuple

import numpy as np

from experiments.common import pages

UNSURE = 0.5  # a tag less probable than this is marked as a guess
PLAIN = ("O", "name", "white space")  # tags in the colour of text
CODE = {
    "keyword": "#8a63d2",
    "builtin": "#0f8fb3",
    "defined name": "#c2651a",
    "string": "#2a8a3e",
    "comment": "#808890",
    "number": "#d1383f",
    "operator": "#7a7f87",
}
RESET, DIM = "\x1b[0m", "\x1b[2m"


class Token(NamedTuple):
    """A word or a run of characters, its tag, and the probability of that tag."""

    text: str
    tag: str
    probability: float


def probabilities_of(tags, probabilities, labels):
    """The probability of each tag that a model gives, shape (batch, time).

    The best sequence of a CRF need not have the most probable tag everywhere.

    tags: names as bytes, (batch, time); what padding has does not matter.
    probabilities: of all tags, (batch, time, tags).
    labels: the names of all tags, in their order; if there are none, each tag is taken for the most probable.
    """
    if not labels:
        return probabilities.max(axis=-1)
    order = {label.encode(): at for at, label in enumerate(labels)}
    chosen = np.array([order.get(tag, 0) for tag in tags.flat], int).reshape(tags.shape)
    return np.take_along_axis(probabilities, chosen[..., None], axis=-1)[..., 0]


def split_words(line):
    """The words and the punctuation of a line; tokens split off already, such as 's, stay whole."""
    return [match[0] for match in re.finditer(r"(?<!\S)['’]\w+(?!\S)|\w(?:\S*\w)?|([^\w\s])\1*", line)]


def conll(sentences, code):
    """A line with text and tag for every token, an empty line after every sentence.

    Runs of characters are written as JSON strings, since they may hold line ends.
    """
    written = json_string if code else str
    return "".join(
        "".join(f"{written(token.text)}\t{token.tag}\n" for token in sentence) + "\n"
        for sentence in sentences
    )


def json_lines(sentences, code):
    """A line for every sentence: a JSON list of objects with text, tag, probability; blank if it is empty."""
    return "".join(
        (json_string([token._asdict() for token in sentence]) if sentence else "") + "\n"
        for sentence in sentences
    )


def json_string(content):
    return json.dumps(content, ensure_ascii=False)


def terminal(sentences, code):
    """Text in colours, for a terminal; the tags of words stand below them."""
    colours = colours_of(sentences)
    if code:
        return "".join(painted(token.text, colours[token.tag]) for token in sentences[0])
    width = shutil.get_terminal_size().columns
    return "".join(
        f"{words}\n{tags}\n" for sentence in sentences for words, tags in _rows(sentence, colours, width)
    )


def _rows(sentence, colours, width):
    """The words of a sentence and the tags below them, cut into rows that fit the width."""
    words, tags, used = "", "", 0
    for token in sentence:
        column = max(len(token.text), len(token.tag)) + 1
        if used and used + column > width:
            yield words, tags
            words, tags, used = "", "", 0
        words += painted(token.text.ljust(column), colours[token.tag])
        tags += f"{DIM}{token.tag.ljust(column)}{RESET}"
        used += column
    yield words, tags


def painted(text, colour):
    """Text in a colour, by the escape codes of a terminal."""
    if colour is None:
        return text
    red, green, blue = bytes.fromhex(colour[1:])
    return f"\x1b[38;2;{red};{green};{blue}m{text}{RESET}"


def page(sentences, code, title):
    """A self-contained HTML page, which shows the tag and its probability for the token at the pointer."""
    colours = colours_of(sentences)
    return pages.page(
        "common/highlight.html",
        title=title,
        colours=colours,
        classes={tag: f"t{at}" for at, tag in enumerate(colours)},
        unsure=UNSURE,
        sentences=sentences,
        lines=sum(token.text.count("\n") for token in sentences[0]) + 1 if code else 0,
    )


def colours_of(sentences):
    """A colour, or None for that of plain text, for every tag that occurs; B-PER and I-PER share one."""
    tags = sorted({token.tag for sentence in sentences for token in sentence})
    kinds = sorted({_kind(tag) for tag in tags} - {*PLAIN, *CODE})
    hues = {kind: _hue(at / len(kinds)) for at, kind in enumerate(kinds)}
    return {tag: {**hues, **CODE}.get(_kind(tag)) for tag in tags}


def _kind(tag):
    return tag[2:] if tag[:2] in ("B-", "I-", "E-", "S-") else tag


def _hue(turn):
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(turn, 0.42, 0.65))
    return f"#{red:02x}{green:02x}{blue:02x}"
