"""Characters as the DejaVu faces draw them, captioned with their Unicode names.

The faces come with matplotlib. A network is asked two questions: does it know a character in a *face* that
it has not seen, and can it name a *character* that it has not seen, by putting known words together?

- Controls, marks and separators are left out, and so are characters whose names have a word that is in fewer
  than `LEAST` names to learn from.
- A hash of the name puts a tenth of the characters into the test, and a twentieth into the validation part.
- `HELD_OUT`, a face of each family, are drawn only for the test on faces.
- Characters may be drawn exactly alike (A: Latin, Greek or Cyrillic?), within a face or across faces. So each
  drawing counts once, what can be learnt by heart is no test, and every name of a drawing is right.
"""

import collections
import functools
import unicodedata
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from experiments.captioning.data.captioned import Captioned, Part
from experiments.common.splits import position

FACES = tuple(
    f"DejaVu{family}{style}"
    for family, styles in {
        "Sans": ("", "-Bold", "-Oblique", "-BoldOblique"),
        "SansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
        "Serif": ("", "-Bold", "-Italic", "-BoldItalic"),
    }.items()
    for style in styles
)
HELD_OUT = ("DejaVuSans-Oblique", "DejaVuSansMono-Bold", "DejaVuSerif-BoldItalic")
LEFT_OUT = "MZC"  # the first letters of the categories of characters that have no drawing of their own
LEAST = 3
TEST, VALIDATION = 0.1, 0.15  # what is below is test, or validation; see `splits.position`
# of the height: the size of the font, and where its base line is; few characters are wider or higher
EM, BASE = 34 / 48, 35 / 48


@functools.lru_cache(maxsize=1)  # drawing takes longer than anything else that several runs share
def read(size):
    """The characters as pictures of that size, (height, width): black on white."""
    seen, named = (_named(faces) for faces in ([f for f in FACES if f not in HELD_OUT], FACES))
    words = _words({name for name in seen.values() if _part_of(name) == "train"})
    known = {name: _part_of(name) for name in seen.values() if words.issuperset(name.split())}
    chosen = collections.defaultdict(list)
    for pixels, drawn in _drawings(named, size).items():
        if found := _placed(drawn, known):
            part, captions = found
            chosen[part].append((pixels, captions))
    made = {part: _part(chosen[part], size) for part in ("train", "validation", "faces", "characters")}
    return Captioned(made.pop("train"), made.pop("validation"), made)


def draw(character, face, size):
    """The picture of a character, uint8 (height, width), black on white."""
    return np.asarray(_draw(character, _font(face, size), size))


def _words(names):
    """The words of those names whose every word is in at least `LEAST` of them."""
    while True:
        counts = collections.Counter(word for name in names for word in name.split())
        kept = {name for name in names if all(counts[word] >= LEAST for word in name.split())}
        if kept == names:
            return set(counts)
        names = kept


def _placed(drawn, known):
    """The part of a drawing and its captions, or None if it has no known name.

    drawn: pairs of a face and a name, of all that is drawn so.
    known: the part of each name of a character that a seen face draws and whose words are all known.
    """
    seen = {name for face, name in drawn if face not in HELD_OUT and name in known}
    learnt = {name for name in seen if known[name] == "train"}
    if learnt:
        return "train", tuple(sorted(learnt))
    names = tuple(sorted({name for _, name in drawn}))
    if seen:
        return known[min(seen)], names
    if any(known.get(name) == "train" for name in names):
        return "faces", names
    return None


def _part_of(name):
    at = position(name)
    return "characters" if at < TEST else "validation" if at < VALIDATION else "train"


def _part(chosen, size):
    chosen = sorted(chosen, key=lambda each: position(f"{each[1]} {each[0].hex()}"))
    pictures = np.frombuffer(b"".join(pixels for pixels, _ in chosen), "uint8")
    return Part(pictures.reshape(-1, *size, 1), [captions for _, captions in chosen])


def _drawings(named, size):
    """By the bytes of a picture, what is drawn so: pairs of a face and a name."""
    drawings = collections.defaultdict(list)
    for face in FACES:
        font = _font(face, size)
        for character in _charmap(face):
            if character in named:
                pixels = _draw(character, font, size).tobytes()
                drawings[pixels].append((face, named[character]))
    return drawings


def _draw(character, font, size):
    height, width = size
    image = Image.new("L", (width, height), "white")
    ImageDraw.Draw(image).text((width / 2, BASE * height), character, "black", font, anchor="ms")
    return image


def _font(face, size):
    return ImageFont.truetype(_path(face), EM * size[0], layout_engine=ImageFont.Layout.BASIC)


def _path(face):
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf")


def _charmap(face):
    return sorted(map(chr, FT2Font(_path(face)).get_charmap()))


def _named(faces):
    """The characters that some of the faces draw, with their names."""
    characters = sorted({character for face in faces for character in _charmap(face)})
    return {character: name for character in characters if (name := _name(character))}


def _name(character):
    """The Unicode name of a character; "" if it has none or is left out."""
    return "" if unicodedata.category(character)[0] in LEFT_OUT else unicodedata.name(character, "")
