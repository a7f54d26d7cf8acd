"""Where the decoder attended as it wrote, on the terminal and as a picture."""

import unicodedata
import warnings

from matplotlib.figure import Figure

SHADES = " ░▒▓█"
SUFFIXES = (".png", ".svg")


def terminal(translation):
    """A line for each piece written, a column for each one read: darker where it attended more."""
    margin = max(map(width, translation.pieces), default=0)
    lines = [" " * (margin + 1) + " ".join(translation.read)]
    for piece, weights in zip(translation.pieces, translation.alignment, strict=True):
        shades = (
            SHADES[min(int(weight * len(SHADES)), len(SHADES) - 1)] * width(read)
            for weight, read in zip(weights, translation.read, strict=True)
        )
        lines.append(" " * (margin - width(piece)) + piece + " " + " ".join(shades))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def width(text):
    """The columns that a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def draw(translations, path, suffix=".png"):
    """A picture with the alignment of each translation, in a format of `SUFFIXES`."""
    sizes = [(len(each.read), len(each.pieces)) for each in translations]
    figure = Figure(
        figsize=(sum(3 + 0.3 * across for across, _ in sizes), 2 + 0.3 * max(down for _, down in sizes)),
        layout="constrained",
    )
    ratios = [3 + 0.3 * across for across, _ in sizes]
    grid = figure.subplots(1, len(translations), squeeze=False, width_ratios=ratios)[0]
    for axes, each in zip(grid, translations, strict=True):
        axes.imshow(each.alignment, cmap="Greys", vmin=0, vmax=1)
        axes.set_xticks(range(len(each.read)), map(escaped, each.read), rotation=90)
        axes.set_yticks(range(len(each.pieces)), map(escaped, each.pieces))
        axes.set_xlabel("read")
        axes.set_ylabel("written")
    with warnings.catch_warnings():
        # a script that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(path, format=suffix[1:], dpi=110)


def escaped(text):
    """A text in which matplotlib finds no formula."""
    return text.replace("$", r"\$")
