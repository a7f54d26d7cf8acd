"""A film with the label of every frame: as a strip of frames, and as an annotated film."""

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from experiments.common.pictures import resized

STRIP = 24  # frames of a strip
EDGE = 256  # pixels of the longer edge of a frame of an annotated film
CAPTION = 24  # pixels of the line below
MILLISECONDS = 150  # for each frame


def strip(frames, labels, probabilities, path):
    """Frames side by side as a PNG, each with its label and how probable it is; some of a long film."""
    chosen = np.linspace(0, len(frames) - 1, min(STRIP, len(frames))).round().astype(int)
    columns = min(8, len(chosen))
    rows = -(-len(chosen) // columns)
    height, width = frames[0].shape[:2]
    figure = Figure(figsize=(1.6 * columns, rows * (1.6 * height / width + 0.4)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, at in zip(grid, chosen, strict=False):
        axes.imshow(frames[at])
        axes.set_title(f"{at}: {_escaped(labels[at])} ({probabilities[at]:.2f})", fontsize=8, pad=2)
    figure.savefig(path, format="png", dpi=110)


def _escaped(label):
    return label.replace("$", r"\$")


def film(frames, labels, probabilities, path):
    """The film as a GIF, below each frame its label and how probable it is."""
    told = zip(frames, labels, probabilities, strict=True)
    first, *others = [_captioned(frame, f"{label} {share:.2f}") for frame, label, share in told]
    first.save(path, format="GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)


def _captioned(frame, text):
    scale = EDGE / max(frame.shape[:2])
    picture = Image.fromarray(frame)
    size = [max(1, round(scale * edge)) for edge in picture.size]
    image = Image.new("RGB", (size[0], size[1] + CAPTION), "white")
    image.paste(picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR))
    ImageDraw.Draw(image).text((4, size[1] + 4), text, fill="black", font_size=14)
    return image


def small(frame):
    """A frame that is no larger than what is shown of it."""
    scale = EDGE / max(frame.shape[:2])
    return frame if scale >= 1 else resized(frame, [max(1, round(scale * edge)) for edge in frame.shape[:2]])
