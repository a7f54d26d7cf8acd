"""What can be expected of a reader of characters: `python -m experiments.captioning.bounds`.

It prints these shares of the drawings of each test part:

- nearest: those whose nearest training drawing, by the squared difference, has a caption of theirs: what a
  reader knows without learning;
- alike within 1, 2 or 5 %: those from which some drawing of no common caption differs by less than this, as
  the squared difference by the squared ink: from the picture alone such two can hardly be told apart;

and of those of unseen characters also:

- composable: those with a caption B WITH M AND N … where captions of the training part have B, with other
  marks or none, and each of the marks;
- composable, or known in the other case: these, and those of which the training part has the small letter for
  a capital one, or the reverse.
"""

import sys

import numpy as np

from experiments.captioning import data
from experiments.common.options import Parser, command_line
from experiments.common.pictures import size_text

CHARACTERS = "characters"  # the test part of captions that are not in the training part
BLOCK = 500  # drawings that are compared with all others at a time
ALIKE = (0.01, 0.02, 0.05)


def bounds(captioned):
    """By the name of each test part, the shares that the module describes: text -> number."""
    shares = {name: _of_pictures(part, captioned) for name, part in captioned.tests.items()}
    shares[CHARACTERS] |= _of_captions(captioned.tests[CHARACTERS], captioned.train)
    return shares


def _of_pictures(part, captioned):
    nearest, closest = compared(part, captioned)
    alike = {f"alike within {limit:.0%}": (closest < limit).mean() for limit in ALIKE}
    return {"nearest": nearest.mean(), **alike}


def _of_captions(part, train):
    known = {caption for captions in train.captions for caption in captions}
    is_composable = composable_from(known)
    composable = np.array([any(map(is_composable, captions)) for captions in part.captions])
    other_case = [any(in_other_case(caption) in known for caption in captions) for captions in part.captions]
    return {
        "composable": composable.mean(),
        "composable, or known in the other case": (composable | other_case).mean(),
    }


def compared(part, captioned):
    """For each drawing, whether the nearest training drawing has its caption, and how far others are.

    The latter is the least squared difference, by the squared ink, from a drawing of no common caption.
    """
    others = [captioned.train, *captioned.tests.values()]
    captions = [frozenset(each) for other in others for each in other.captions]
    inks = np.concatenate([_ink(other) for other in others])
    squares = np.sum(inks**2, axis=1)
    nearest, closest = [], []
    for start in range(0, len(part), BLOCK):
        ink = _ink(part.take(range(start, min(start + BLOCK, len(part)))))
        differences = np.sum(ink**2, axis=1, keepdims=True) - 2 * ink @ inks.T + squares
        for row, own, of in zip(differences, ink, part.captions[start : start + BLOCK], strict=True):
            at = row[: len(captioned.train)].argmin()
            nearest.append(not captions[at].isdisjoint(of))
            other = next(at for at in np.argsort(row) if captions[at].isdisjoint(of))
            closest.append(row[other] / np.sum(own**2))
    return np.array(nearest), np.array(closest)


def _ink(part):
    """How black each pixel is, from 0 to 1: (pictures, pixels)."""
    return 1 - part.pictures.reshape(len(part), -1).astype("float32") / 255


def composable_from(known):
    """The function that tells whether a caption is that of a known letter with known marks."""
    parts = list(map(_parts, known))
    letters, marks = {letter for letter, _ in parts}, {mark for _, its in parts for mark in its}

    def is_composable(caption):
        letter, its = _parts(caption)
        return bool(its) and letter in letters and marks.issuperset(its)

    return is_composable


def _parts(caption):
    """The letter that a caption names, and its marks."""
    letter, _, marks = caption.partition(" WITH ")
    return letter, marks.split(" AND ") if marks else []


def in_other_case(caption):
    """The caption of the small letter for that of the capital one, and the reverse."""
    swapped = {"SMALL": "CAPITAL", "CAPITAL": "SMALL"}
    return " ".join(swapped.get(word, word) for word in caption.split())


def show(parser, options):
    captioned = data.read(data.GLYPHS, options.size)
    for name, shares in bounds(captioned).items():
        print(f"{name}: {len(captioned.tests[name])} drawings")
        for what, value in shares.items():
            print(f"  {what:<42}{value:.3f}")


def main(arguments=None):
    parser = Parser(
        prog="python -m experiments.captioning.bounds",
        description="Print what can be expected of a reader of characters that it has not seen.",
    )
    parser.add_argument("--size", type=size_text, default="48x48", help="size of the pictures")
    return command_line({"bounds": (parser, show)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
