"""What a network makes of a picture: the frame in which it looks, and what it sees there."""

import numpy as np
from matplotlib.figure import Figure

CORNERS = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])  # of a view, as (x, y), and back
INK = "orange"


def frames(theta, shape):
    """The corners of each view in the picture, columns and rows in pixels, (views, 5, 2).

    theta: (2, 3), or (views, 2, 3).
    shape: (height, width) of the picture.
    """
    target = np.c_[CORNERS, np.ones(len(CORNERS))]
    source = target @ np.reshape(theta, (-1, 2, 3)).swapaxes(1, 2)
    return (source + 1) / 2 * (np.array(shape[::-1]) - 1)


def before_and_after(picture, answer, file):
    """Draw a picture and its views.

    answer: of the saved model, for this picture alone, by name.
    """
    views = np.reshape(answer["views"], (-1, *answer["views"].shape[-2:])) if "views" in answer else []
    figure = Figure(figsize=(2.6 * (1 + len(views)), 2.9), layout="constrained")
    first, *others = np.atleast_1d(figure.subplots(1, 1 + len(views)))
    _show(first, picture / 255)
    height, width = picture.shape
    if len(views):
        for corners in frames(answer["theta"], picture.shape):
            first.plot(*corners.T, color=INK, linewidth=1)
    first.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), title="the picture")
    for number, (axes, view) in enumerate(zip(others, views, strict=True), 1):
        _show(axes, view)
        axes.set_title("what the network sees" if len(views) == 1 else f"view {number}")
    figure.suptitle(f"{answer['labels'].decode()} ({answer['probabilities'].max():.2f})")
    figure.savefig(file, format="png", dpi=110)


def _show(axes, picture):
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
