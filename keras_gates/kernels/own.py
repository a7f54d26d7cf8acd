"""Kernels of the user's own, from the header that `$KERAS_GATES_CELLS` names: which cells they compute."""

import functools
import logging

from keras_gates._arguments import arguments_of, first_line
from keras_gates.cells.base import GatedCell
from keras_gates.kernels import placement
from keras_gates.kernels.cells import DESCRIBED

_log = logging.getLogger("keras_gates")

_REGISTERED: set[type[GatedCell]] = set()


def register(cell: type[GatedCell], kernel: str) -> None:
    """Say which kernel computes a cell of your own, from the header that `$KERAS_GATES_CELLS` names.

    The page on fused kernels, `docs/speed.md`, shows such a header. Each process compares the kernel with the
    cell's `step`, in double precision, before its first use and for each activation. If it is wrong or
    missing, a warning says so and the cell takes the plain path.

    Args:
        cell: a class derived from `keras_gates.cells.GatedCell`, without weights or arguments of its own.
        kernel: the `name` of the kernel in the header.

    Raises:
        TypeError: `cell` is no such class.
        ValueError: it has weights or arguments of its own, or the package has its kernel.
    """
    if not (isinstance(cell, type) and issubclass(cell, GatedCell)):
        raise TypeError(f"`cell` must be a class derived from keras_gates.cells.GatedCell; got {cell!r}.")
    if cell in DESCRIBED and cell not in _REGISTERED:
        raise ValueError(
            f"`cell` must be a class of your own; the package has the kernel of {cell.__name__}."
        )
    arguments = _arguments_added_by(cell)
    if arguments:
        raise ValueError(
            "`cell` must have no arguments of its own, which no kernel knows; "
            f"got {cell.__name__} with {', '.join(arguments)}."
        )
    if cell.build_own is not GatedCell.build_own:
        raise ValueError(
            "`cell` must have no weights of its own, which no kernel gets; "
            f"got {cell.__name__}, whose `build_own` adds some."
        )
    DESCRIBED[cell] = lambda _: {"cell": kernel}
    _REGISTERED.add(cell)


def _arguments_added_by(cell):
    return [name for name in arguments_of(cell) if name not in arguments_of(GatedCell)]


def serves(cell, description):
    """Whether the kernel of a cell does what its equations say.

    The package's own were tested when built, and beside a GPU it is the equations that run.
    """
    if type(cell) not in _REGISTERED or placement.is_beside_gpu():
        return True
    return _is_right(type(cell), description["cell"], description["activation"])


@functools.cache
def _is_right(cell_class, kernel, activation):
    """Tests a kernel in each process anew: nothing else tells whether the equations have changed since.

    Logs a warning if it is wrong.
    """
    from keras_gates.kernels import core, selftest

    library = core.library()
    try:
        if kernel not in library.cells:
            raise ValueError(f"KERAS_GATES_CELLS has no kernel {kernel!r}.")
        selftest.check(library.run_arrays, [functools.partial(cell_class, activation=activation)])
    except Exception as error:  # its equations may raise anything
        _log.warning("keras_gates runs %s without its kernel: %s", cell_class.__name__, first_line(error))
        return False
    return True
