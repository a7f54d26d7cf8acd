"""How a run of this task is read; `experiments.common.reading` says what for."""

import re
import tokenize

import numpy as np

from experiments.common import python_source
from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels
from experiments.language import tokens

LONGEST = 1500  # characters of a text that are shown
OPENING, CLOSING = "([{", ")]}"
MARKED = re.compile(r"""\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|(["'`“”„]).*?\1|#.*""")


def read(model, config, texts):
    """Tokens; for each how deep in brackets and indentation it ends, where in its line, and in which part.

    Of Python source, strings and comments are those of Python's own tokenizer. Of other text, such as what a
    network wrote, see `quotes_and_comments`.
    """
    check_labels(config, model.output_shape[-1])
    pieces = [list(tokens.split(text[:LONGEST], tokens.kind_of(config))) for text in texts]
    last = [np.cumsum([len(piece) for piece in each]) - 1 for each in pieces]  # characters of the tokens
    of_text = [_labels(text) for text in texts]
    labels = {what: [of[what][at] for of, at in zip(of_text, last, strict=True)] for what in of_text[0]}
    texts = [text[:LONGEST] for text in texts]
    # a unit cannot follow what is the same everywhere
    told = {what: rows for what, rows in labels.items() if np.ptp(np.concatenate(rows))}
    return Reading(np.array(texts, object), pieces, told, opens_on_swing=False)


def _labels(text):
    try:
        kinds = np.array(python_source.TAGS)[python_source.label(text)]
        quoted, comment = (kinds == "string").astype(float), (kinds == "comment").astype(float)
    except (SyntaxError, tokenize.TokenError):
        quoted, comment = quotes_and_comments(text)
    return {
        "inside quotes": quoted,
        "inside a comment": comment,
        "bracket depth": bracket_depth(text, ignored=(quoted + comment) > 0),
        "indentation depth": indentation(text),
        "position in the line": python_source.columns(text),
    }


def quotes_and_comments(text):
    """Whether each character is inside quotes, and whether inside a comment, as numbers 0 and 1.

    Quotes are two equal quotation marks of a line, or two equal triple ones, and what is between them; a
    comment is what follows a # outside quotes in its line.
    """
    quoted, comment = np.zeros((2, len(text)))
    for found in MARKED.finditer(text):
        (comment if found[0].startswith("#") else quoted)[found.start() : found.end()] = 1
    return quoted, comment


def bracket_depth(text, ignored):
    """How many brackets are open at each character, itself included; `ignored` ones do not count."""
    depth, depths = 0, []
    for character, passes in zip(text, ignored, strict=True):
        opens = not passes and character in OPENING
        closes = not passes and character in CLOSING
        depth += opens
        depths.append(depth)
        depth = max(depth - closes, 0)
    return np.array(depths, float)


def indentation(text):
    """The width of the white space that each character's line begins with; a tab counts as eight."""
    lines = text.splitlines(keepends=True)
    widths = [len(line.expandtabs()) - len(line.expandtabs().lstrip()) for line in lines]
    return np.repeat(np.array(widths, float), [len(line) for line in lines])
