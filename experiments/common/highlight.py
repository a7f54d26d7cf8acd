"""Tagged text in the forms that people and programs read.

Every form takes sentences, which are lists of `Token`s, and says in its docstring what it makes of them.
`code` tells whether the tokens are runs of characters that join without gaps, rather than words.
"""

import colorsys
import html
import json
import re
import shutil
from typing import NamedTuple

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
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 2rem; font: 16px/1.5 system-ui, sans-serif; color: #24292f; background: #fff; }}
h1 {{ font-size: 1.1rem; }}
.legend span {{ margin-right: 1em; font-size: .85rem; white-space: nowrap; }}
.code {{ display: flex; gap: 1.5em; font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }}
.code pre {{ margin: 0; font: inherit; tab-size: 8; }}
.code pre:first-child {{ text-align: right; color: #9aa1a9; user-select: none; }}
.sentence {{ line-height: 2.6; }}
.sentence ruby {{ margin-right: .5em; ruby-position: under; }}
.sentence rt {{ font-size: .6rem; opacity: .8; }}
.unsure {{ text-decoration: underline dotted; }}
{colours}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="legend">{legend}</p>
{body}
</body>
</html>
"""


class Token(NamedTuple):
    """A word or a run of characters, its tag, and the probability of that tag."""

    text: str
    tag: str
    probability: float


def split_words(line):
    """The words and the punctuation of a line; what is split already, 's and n't included, stays so."""
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
    """A line for every sentence: a JSON list of objects with text, tag and probability."""
    return "".join(json_string([token._asdict() for token in sentence]) + "\n" for sentence in sentences)


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
    """Text in a colour, in the escapes of a terminal."""
    if colour is None:
        return text
    red, green, blue = bytes.fromhex(colour[1:])
    return f"\x1b[38;2;{red};{green};{blue}m{text}{RESET}"


def page(sentences, code, title):
    """A page of HTML that needs nothing else; what a tag is and how probable is shown at the pointer."""
    colours = colours_of(sentences)
    classes = {tag: f"t{at}" for at, tag in enumerate(colours)}
    body = (
        _listing(sentences[0], classes) if code else "\n".join(_paragraph(one, classes) for one in sentences)
    )
    return PAGE.format(
        title=html.escape(title),
        colours="\n".join(
            f".{classes[tag]} {{ color: {colour or 'inherit'}; }}" for tag, colour in colours.items()
        ),
        legend="\n".join(f'<span class="{name}">{html.escape(tag)}</span>' for tag, name in classes.items()),
        body=body,
    )


def _listing(tokens, classes):
    lines = "".join(token.text for token in tokens).count("\n") + 1
    numbers = "\n".join(map(str, range(1, lines + 1)))
    text = "".join(_element("span", token, classes, html.escape(token.text)) for token in tokens)
    return f'<div class="code"><pre>{numbers}</pre><pre>{text}</pre></div>'


def _paragraph(sentence, classes):
    words = "\n".join(
        _element("ruby", token, classes, f"{html.escape(token.text)}<rt>{html.escape(token.tag)}</rt>")
        for token in sentence
    )
    return f'<p class="sentence">{words}</p>'


def _element(name, token, classes, content):
    style = classes[token.tag] + (" unsure" if token.probability < UNSURE else "")
    about = html.escape(f"{token.tag}, {token.probability:.3f}")
    return f'<{name} class="{style}" title="{about}">{content}</{name}>'


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
