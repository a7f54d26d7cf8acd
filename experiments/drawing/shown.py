"""What is drawn, step by step: a sheet of pictures, a strip of the steps, and an animation."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

EDGE = 84  # pixels to which the longer edge of a small picture is enlarged
GAP = 4  # pixels between pictures
PAPER = 96  # brightness of what lies between them
MILLISECONDS, LAST = 250, 1500  # for each step of an animation, and for the last
READ, WRITTEN = "deepskyblue", "orange"


def squares(told, role, patch):
    """The corners of the squares that are read or written, in pixels, (…, 4): left, top, right, bottom.

    told: a trace of a saved model, by name.
    role: what the names of its parameters begin with, such as "drawing_".
    patch: how many filters an edge has.

    Returns None if the network has no attention.
    """
    if f"{role}center" not in told:
        return None
    center, half = np.asarray(told[f"{role}center"]), np.asarray(told[f"{role}stride"]) * patch / 2
    return np.concatenate([center - half, center + half], axis=-1)


def sheet(pictures, file):
    """Pictures (pictures, height, width), of numbers from 0 to 1, side by side as a PNG."""
    _page([_enlarged(picture) for picture in pictures]).save(file, format="PNG")


def film(canvases, corners, file):
    """A GIF of pictures that are drawn at the same time, a frame for each step.

    canvases: (pictures, steps, height, width), of numbers from 0 to 1.
    corners: those of the square of each step, as `squares` returns them; or None.
    """
    frames = []
    for step in range(canvases.shape[1]):
        drawn = [_enlarged(canvas) for canvas in canvases[:, step]]
        if corners is not None:
            for picture, square in zip(drawn, corners[:, step], strict=True):
                _frame(picture, square, canvases.shape[2:])
        frames.append(_page(drawn))
    first, *others = frames
    times = [MILLISECONDS] * len(others) + [LAST]
    first.save(file, format="GIF", save_all=True, append_images=others, duration=times, loop=0)


def strip(picture, canvases, read, written, file):
    """A PNG of a picture with the squares that are read, and of the canvas after every step.

    read, written: the corners of these squares, (steps, 4); or None.
    """
    columns = min(1 + len(canvases), 6)
    rows = math.ceil((1 + len(canvases)) / columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in axes:
        empty.axis("off")
    _show(axes[0], picture, "the picture", [] if read is None else read, READ)
    for number, canvas in enumerate(canvases, 1):
        squares = [] if written is None else written[number - 1 : number]
        _show(axes[number], canvas, f"step {number}", squares, WRITTEN)
    figure.savefig(file, format="png", dpi=100)


def _show(axes, picture, title, squares, ink):
    height, width = picture.shape
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    for left, top, right, bottom in squares:
        axes.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=ink, linewidth=1)
        )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_title(title, fontsize=9)


def _enlarged(picture):
    """A picture of numbers from 0 to 1 as a Pillow image."""
    image = Image.fromarray(np.round(255 * np.asarray(picture)).astype("uint8"))
    scale = max(1, EDGE // max(picture.shape))
    return image.resize([scale * edge for edge in image.size], Image.Resampling.NEAREST).convert("RGB")


def _frame(image, square, shape):
    """Draw a square, in pixels of a picture of that shape, on the picture enlarged."""
    scale = image.height / shape[0]
    corners = [scale * (at + 0.5) for at in square]
    ImageDraw.Draw(image).rectangle(corners, outline=WRITTEN, width=2)


def _page(images):
    """Images of one size as one, in as many columns as rows or one more."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = (edge + GAP for edge in images[0].size)
    page = Image.new("RGB", (columns * width + GAP, rows * height + GAP), (PAPER, PAPER, PAPER))
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        page.paste(image, (GAP + column * width, GAP + row * height))
    return page
