"""Writes `layers/by_name.pyi`, from which editors that do not run the code learn the layers' signatures.

`python -m keras_gates._stub` after a change to a cell's arguments; a test says when it was forgotten.
"""

import inspect
from pathlib import Path

from keras_gates.layers import by_name as layers

PATH = Path(layers.__file__).with_suffix(".pyi")

HEAD = """\
# Written by `python -m keras_gates._stub` from the signatures of the cells; not by hand.
from keras_gates.cells.base import GatedCell
from keras_gates.layers.rnn import RNN

class CellLayer(RNN):
    cell_class: type[GatedCell]
    def __init__(self, units: int, **kwargs) -> None: ...

def layer_of(cell_class: type[GatedCell]) -> type[CellLayer]: ...
"""


def _parameters(layer):
    for name, parameter in inspect.signature(layer).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield f"**{name}"
        elif parameter.default is parameter.empty:
            yield f"{name}: int" if name == "units" else name
        else:
            yield f"{name}={parameter.default!r}"
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
