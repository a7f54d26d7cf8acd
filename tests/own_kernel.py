"""The cell of docs/cells.md with the kernel of docs/speed.md, as a reader would take them from there."""

import functools
import re
from pathlib import Path

import keras_gates

DOCS = Path(__file__).parents[1] / "docs"


def block(page, language, about):
    """The one block of a page that speaks of something."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = (b for b in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S) if about in b)
    return found


def write_header(folder):
    """For `KERAS_GATES_CELLS`, before kernels are used."""
    path = Path(folder) / "my_cell.h"
    path.write_text(block("speed.md", "cpp", "struct MyCell"), encoding="utf-8")
    return path


@functools.cache
def my_cell():
    """The class, its kernel registered."""
    names = {"keras_gates": keras_gates}
    exec(block("cells.md", "python", "class MyCell"), names)
    exec(block("speed.md", "python", "kernels.register"), names)
    return names["MyCell"]
