"""How surprising each token of a text is to a trained model, in forms for people and for programs."""

import json
import math
from typing import NamedTuple

import numpy as np

from experiments.common import pages
from experiments.common.highlight import painted

CHUNK = 1000  # tokens that are read at a time; the state is carried
WORST = 8  # bits: what is as surprising, or more so, has the strongest colour
CALM, ALARM = np.array((128, 128, 128)), np.array((214, 40, 40))


class Scored(NamedTuple):
    """A token of a text, and its surprise: −log2 of its probability there, or None for the first."""

    text: str
    bits: float | None


def surprises(model, tokens):
    """The tokens of a text with their surprise.

    model: a loaded SavedModel from texts to the probabilities of the next token.
    """
    ids = model.answer("tokenize", ["".join(tokens)])["tokens"].numpy()
    stream, bits = model.stream(), []
    for start in range(0, len(tokens) - 1, CHUNK):
        following = ids[0, start + 1 : start + CHUNK + 1]
        probabilities = stream.push({"tokens": ids[:, start : start + len(following)]})[0]
        found = np.asarray(probabilities)[np.arange(len(following)), following]
        bits += (-np.log2(np.maximum(found, np.finfo("float32").tiny))).tolist()
    return [Scored(*each) for each in zip(tokens, [None, *bits], strict=True)]


def bits_per_character(scored):
    """The surprise of all tokens but the first, divided by the number of their characters."""
    return math.fsum(token.bits for token in scored[1:]) / sum(len(token.text) for token in scored[1:])


def colour(bits):
    """From grey, for what was certain, to red, as #rrggbb."""
    share = min((bits or 0) / WORST, 1)
    return "#" + bytes((CALM + share * (ALARM - CALM)).round().astype("uint8").tolist()).hex()


def terminal(scored, title):
    """The text in colours, for a terminal."""
    return "".join(painted(text, colour(bits)) for text, bits in scored) + "\n"


def page(scored, title):
    """A page of HTML that needs nothing else; it shows the bits of a token at the pointer."""
    return pages.page(
        "language/surprise.html",
        title=title,
        average=bits_per_character(scored),
        worst=WORST,
        tokens=[(*token, min((token.bits or 0) / WORST, 1)) for token in scored],
    )


def json_lines(scored, title):
    """A line for every token: a JSON list of the token and its bits."""
    return "".join(json.dumps(token, ensure_ascii=False) + "\n" for token in scored)
