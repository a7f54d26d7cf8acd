"""Drawings as SVG, as PNG and as animations, and the walk of a window over a text."""

import html
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from experiments.common.errors import InputError
from experiments.common.texts import decoded
from experiments.handwriting.data.strokes import Writing, lines_of, strokes_of

LARGEST = 1200, 400  # pixels of a picture
FINER = 3  # lines are drawn so many times as large, and then made smaller: so they are smooth
INK, WIDTH = "#1a1a8c", 3
MARGIN = 0.05  # of the longer edge
FRAMES, MILLISECONDS = 60, 50  # of an animation, and how long each is shown
PAUSE = 2000  # milliseconds of the last frame


def save(written, path, file):
    """Draw what was written into `file`, in the form that the suffix of `path` names."""
    FORMS[path.suffix](written, file)


# -- SVG


def save_svg(written, file):
    """A drawing with a path for every line and the text as its title; `read_svg` reads it again."""
    lines = lines_of(written.strokes)
    low, high = _bounds(lines)
    paths = "".join(f'<path d="{_path(line)}"/>\n' for line in lines)
    width, height = high - low
    thickness = WIDTH * max(width / LARGEST[0], height / LARGEST[1])
    Path(file).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{_numbers((*low, width, height))}">\n'
        f"<title>{html.escape(written.text)}</title>\n"
        f'<g fill="none" stroke="{INK}" stroke-width="{thickness:.6g}" stroke-linecap="round" '
        f'stroke-linejoin="round">\n{paths}</g>\n</svg>\n',
        encoding="utf-8",
    )


def _path(line):
    """The points of a line; a line of one point has no length, and is seen by its round ends."""
    return f"M{_numbers(line.ravel())}" + ("h0" if len(line) == 1 else "")


def _numbers(values):
    return " ".join(f"{value:.6g}" for value in values)


def read_svg(path):
    """The `Writing` in a file that `save_svg` wrote. Raises `InputError` if it is no such file."""
    content = decoded(Path(path).read_bytes(), path)
    title = re.search(r"<title>(.*?)</title>", content, re.DOTALL)
    try:
        lines = [np.array(points.split(), float).reshape(-1, 2) for points in _paths(content)]
        strokes = strokes_of(lines)
    except ValueError as error:
        raise InputError(f"{path} is no SVG file that this command wrote.") from error
    if title is None or len(strokes) < 2:
        raise InputError(f"{path} is no SVG file that this command wrote: it has no title, or no lines.")
    return Writing(html.unescape(title[1]), strokes)


def _paths(content):
    return re.findall(r'<path d="M([^"h]*)(?:h0)?"', content)


# -- pictures


def save_png(written, file):
    lines = lines_of(written.strokes)
    _drawn(lines, *_bounds(lines)).save(file, format="PNG")


def save_film(written, file):
    """An animation of the pen, as a GIF."""
    lines = lines_of(written.strokes)
    low, high = _bounds(lines)
    points = len(written.strokes)
    counts = np.unique(np.linspace(1, points, min(points, FRAMES)).round().astype(int))
    frames = [_drawn(_beginning(lines, count), low, high).convert("P") for count in counts]
    first, *others = frames
    durations = [MILLISECONDS] * len(others) + [PAUSE]
    first.save(file, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)


FORMS = {".svg": save_svg, ".png": save_png, ".gif": save_film}


def _bounds(lines):
    """The lower and the upper corner of a drawing with its margin."""
    points = np.concatenate(lines)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * max(*(high - low), 1e-6)
    return low - margin, high + margin


def _drawn(lines, low, high):
    """A picture of lines, as large as `LARGEST` allows."""
    scale = FINER * min(np.array(LARGEST) / (high - low))
    size = np.ceil((high - low) * scale / FINER).astype(int)
    image = Image.new("RGB", tuple((size * FINER).tolist()), "white")
    draw = ImageDraw.Draw(image)
    radius = FINER * WIDTH / 2
    for line in lines:
        places = (line - low) * scale
        if len(line) > 1:
            draw.line(places.ravel().tolist(), fill=INK, width=FINER * WIDTH, joint="curve")
        for x, y in places[[0, -1]].tolist():
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=INK)
    return image.resize(tuple(size.tolist()), Image.Resampling.LANCZOS)


def _beginning(lines, points):
    """The lines up to a number of points."""
    begun = []
    for line in lines:
        if points > 0:
            begun.append(line[:points])
        points -= len(line)
    return begun


# -- for the run folder


def save_sheet(written, file):
    """Several drawings below each other, with their texts."""
    figure = Figure(figsize=(8, 1.4 * len(written)), layout="constrained")
    for axes, each in zip(figure.subplots(len(written), squeeze=False)[:, 0], written, strict=True):
        _plot(axes, each.strokes)
        axes.set_title(each.text, fontsize=8, loc="left")
    figure.savefig(file, format="png", dpi=110)


def save_walk(written, file):
    """A text as it was written, above the weight of each of its characters as each point was drawn."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(1, 2))
    _plot(above, written.strokes)
    above.set_title(written.text, fontsize=9)
    below.imshow(written.walk.T, aspect="auto", cmap="magma", interpolation="nearest")
    below.set_yticks(range(len(written.text) + 1), [*written.text, "end"], fontsize=8)
    below.set_xlabel("points")
    figure.savefig(file, format="png", dpi=110)


def _plot(axes, strokes):
    for line in lines_of(strokes):
        axes.plot(*line.T, color=INK, linewidth=1.2)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.axis("off")
