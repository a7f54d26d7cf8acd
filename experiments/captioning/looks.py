"""Where a network looked as it chose each word: a film strip for each picture, or a page to point at."""

import base64
import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from experiments.common.pages import page

SUFFIXES = (".png", ".svg", ".html")


def save(path, suffix, pictures, captions):
    """Draw where the network looked into a file: a page for the suffix .html, else a strip."""
    if suffix == ".html":
        path.write_text(html(pictures, captions), encoding="utf-8")
    else:
        strips(pictures, captions).savefig(path, format=suffix[1:], dpi=110)


def strips(pictures, captions):
    """A figure with a row for each picture: the picture, and for each word where the network looked."""
    columns = 1 + max(1, *(len(caption.words) for caption in captions))
    figure = Figure(figsize=(1.5 * columns, 1.75 * len(captions)), layout="constrained")
    grid = figure.subplots(len(captions), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for row, picture, caption in zip(grid, pictures, captions, strict=True):
        _show(row[0], picture)
        for axes, word, weights in zip(row[1:], caption.words, caption.looked, strict=False):
            _show(axes, picture, weights)
            axes.set_title(word.replace("$", r"\$"), fontsize=8)
    return figure


def _show(axes, picture, weights=None):
    height, width = picture.shape[:2]
    extent = (0, width, height, 0)
    axes.imshow(np.broadcast_to(picture, (height, width, 3)), extent=extent)
    if weights is not None:
        strongest = max(float(weights.max()), 1e-9)
        axes.imshow(
            np.full((*weights.shape, 3), (0.85, 0.1, 0.1)), alpha=0.65 * weights / strongest, extent=extent
        )


def html(pictures, captions):
    """A page of HTML that needs nothing else: whoever points at a word sees where the network looked."""
    shown = [
        {
            "source": _data_url(picture),
            "ratio": picture.shape[1] / picture.shape[0],
            "columns": caption.looked.shape[2],
            "places": caption.looked[0].size if len(caption.words) else 0,
            "words": [
                (word, (weights / max(float(weights.max()), 1e-9)).ravel().round(3).tolist())
                for word, weights in zip(caption.words, caption.looked, strict=True)
            ],
        }
        for picture, caption in zip(pictures, captions, strict=True)
    ]
    return page("captioning/looks.html", title="Where the network looked", pictures=shown)


def _data_url(picture):
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))).save(
        stream, "png"
    )
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
