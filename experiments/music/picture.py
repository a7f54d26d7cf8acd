"""A piece, and what the network expected of it."""

import numpy as np
from matplotlib.figure import Figure

from experiments.music.data import LOWEST
from experiments.music.network import foretelling

SHOWN = 200  # frames


def save_picture(model, piece, path):
    """Draw the beginning of a piece, above what the network expected of each frame."""
    piece = piece[: SHOWN + 1]
    expected = foretelling(model).predict(piece[None, :-1].astype("float32"), verbose=0)[0]
    keys = np.flatnonzero(piece.any(axis=0))
    low, high = keys.min(initial=0), keys.max(initial=0) + 1
    figure = Figure(figsize=(10, 6), layout="constrained")
    extent = (0.5, len(expected) + 0.5, low + LOWEST - 0.5, high + LOWEST - 0.5)
    for axes, values, title in zip(
        figure.subplots(2, sharex=True), (piece[1:], expected), ("notes", "expected"), strict=True
    ):
        axes.imshow(
            values[:, low:high].T,
            aspect="auto",
            origin="lower",
            interpolation="nearest",
            cmap="Greys",
            vmin=0,
            vmax=1,
            extent=extent,
        )
        axes.set_ylabel(f"{title}, MIDI number")
    axes.set_xlabel("frame")
    figure.savefig(path, format="png", dpi=110)
