"""Cells inside of cells, and attributes that are replaced for a while."""

import contextlib


@contextlib.contextmanager
def attributes(target, **values):
    """Within the context, `target` has these attributes, which are hidden from Keras' tracking."""
    kept = {name: vars(target)[name] for name in values if name in vars(target)}
    vars(target).update(values)
    try:
        yield
    finally:
        for name in values:
            del vars(target)[name]
        vars(target).update(kept)


def cells_inside(cell):
    """A cell, and all cells inside it: those of a stack, and what a wrapper wraps."""
    inner = getattr(cell, "cells", None) or [c for c in [getattr(cell, "cell", None)] if c is not None]
    return [cell, *(deeper for each in inner for deeper in cells_inside(each))]
