"""Where the decoder looks, as a picture."""

import numpy as np
from matplotlib.figure import Figure

from experiments.reversal.data import LENGTHS, draw
from keras_gates._files import written_whole

SUFFIXES = (".png", ".svg")


def draw_picture(reverser, path):
    """Draw where the decoder looks for one sequence of each length."""
    figure = Figure(figsize=(12, 3), layout="constrained")
    batch = draw(64, seed=5)
    lengths = range(LENGTHS[0], LENGTHS[1] + 1)
    alignments = reverser.alignments(batch)
    for axes, length in zip(figure.subplots(1, len(lengths)), lengths, strict=True):
        one = int(np.argmax(batch.lengths == length))
        axes.imshow(alignments[one, :length, :length], cmap="Greys", vmin=0, vmax=1)
        axes.set_xticks(range(length), batch.sequences[one, :length])
        axes.set_yticks(range(length), batch.reversed[one, :length])
        axes.set_xlabel("symbol looked at")
    figure.axes[0].set_ylabel("symbol to say")
    with written_whole(path, "picture", replace=True) as partial:
        figure.savefig(partial, dpi=80)
