"""Writes `layers/by_name.pyi`, which gives editors and type checkers the signatures of the layers by name.

Run `python -m keras_gates._stub` after a change to a cell's arguments; a test fails if it was forgotten.
"""

import inspect
import re
from pathlib import Path

from keras_gates import _arguments
from keras_gates.layers import by_name as layers

PATH = Path(layers.__file__).with_suffix(".pyi")

HEAD = """\
# Written by `python -m keras_gates._stub` from the signatures of the cells; not by hand.
import inspect
from collections.abc import Iterable
from typing import Any, Literal

from keras_gates._arguments import Activation, Constraint, Initializer, Regularizer
from keras_gates.cells.base import GatedCell
from keras_gates.layers.rnn import RNN

class CellLayer(RNN):
    cell_class: type[GatedCell]
    def __init__(self, units: int, **kwargs: Any) -> None: ...

def arguments_of_rnn() -> dict[str, inspect.Parameter]: ...
def layer_of(cell_class: type[GatedCell]) -> type[CellLayer]: ...
"""
# Annotations that are written by the names of `keras_gates._arguments`.
ALIASES = {
    getattr(_arguments, name): name for name in ("Activation", "Constraint", "Initializer", "Regularizer")
}


def _annotation(parameter):
    """The type of a parameter as the stub writes it; Keras' own have none, and then that of the default."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        annotation = type(parameter.default)
    return ALIASES.get(annotation) or re.sub(
        r"(typing|collections\.abc)\.", "", inspect.formatannotation(annotation)
    )


def _parameters(layer):
    for name, parameter in inspect.signature(layer).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield f"**{name}: Any"
        elif parameter.default is parameter.empty:
            yield f"{name}: {_annotation(parameter)}"
        else:
            yield f"{name}: {_annotation(parameter)} = {parameter.default!r}"
        if name == "units":
            yield "*"


def _class(layer):
    parameters = "".join(f"        {parameter},\n" for parameter in _parameters(layer))
    head = f"class {layer.__name__}(CellLayer):\n    def __init__(\n        self,\n"
    return f"\n{head}{parameters}    ) -> None: ...\n"


def stub():
    """The text of `layers/by_name.pyi` as the cells are now."""
    made = {
        name: value
        for name, value in vars(layers).items()
        if isinstance(value, type) and issubclass(value, layers.CellLayer) and value is not layers.CellLayer
    }
    return HEAD + "".join(_class(made[name]) for name in sorted(made))


if __name__ == "__main__":
    PATH.write_text(stub())
