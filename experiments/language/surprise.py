"""How surprising each character of a text is to a trained model, in forms for people and for programs."""

import json
import math
from typing import NamedTuple

import numpy as np

from experiments.common import pages
from experiments.common.highlight import painted

CHUNK = 1000  # characters that are read at a time; the state is carried
WORST = 8  # bits: what is as surprising, or more so, has the strongest colour
CALM, ALARM = np.array((128, 128, 128)), np.array((214, 40, 40))


class Character(NamedTuple):
    """A character of a text, and its surprise: −log2 of its probability there, or None for the first."""

    text: str
    bits: float | None


def surprises(model, text):
    """The characters of a text with their surprise.

    model: a loaded SavedModel from texts to the probabilities of the next token.
    """
    ids = model.answer("tokenize", [text])["tokens"].numpy()
    stream, bits = model.stream(), []
    for start in range(0, len(text) - 1, CHUNK):
        following = ids[0, start + 1 : start + CHUNK + 1]
        probabilities = stream.push({"tokens": ids[:, start : start + len(following)]})[0]
        found = np.asarray(probabilities)[np.arange(len(following)), following]
        bits += (-np.log2(np.maximum(found, np.finfo("float32").tiny))).tolist()
    return [Character(*each) for each in zip(text, [None, *bits], strict=True)]


def bits_per_character(characters):
    return math.fsum(character.bits for character in characters[1:]) / (len(characters) - 1)


def colour(bits):
    """From grey, for what was certain, to red, as #rrggbb."""
    share = min((bits or 0) / WORST, 1)
    return "#" + bytes((CALM + share * (ALARM - CALM)).round().astype("uint8").tolist()).hex()


def terminal(characters, title):
    """The text in colours, for a terminal."""
    return "".join(painted(text, colour(bits)) for text, bits in characters) + "\n"


def page(characters, title):
    """A page of HTML that needs nothing else; it shows the bits of a character at the pointer."""
    return pages.page(
        "language/surprise.html",
        title=title,
        average=bits_per_character(characters),
        worst=WORST,
        characters=[(*character, min((character.bits or 0) / WORST, 1)) for character in characters],
    )


def json_lines(characters, title):
    """A line for every character: a JSON list of the character and its bits."""
    return "".join(json.dumps(character, ensure_ascii=False) + "\n" for character in characters)
