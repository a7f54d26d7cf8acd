"""What a kernel of the user's own must do: checks of `kernel_check.py`."""

import contextlib

import numpy as np
from kernel_check_tools import check, compare, counted, logged
from own_kernel import my_cell

import keras_gates


@check("the user's own: values and gradients")
def _():
    compare(my_cell(), (5, 7, 9, 20, "holes", True))


@check("the user's own: second derivatives", only="torch")
def _():
    compare(my_cell(), (3, 4, 5, 6, "holes", False), twice=True)


@check("the user's own: inside another cell, with dropout", only="torch")
def _():
    dropping = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
    compare(
        lambda units: keras_gates.ResidualCell(my_cell()(units, **dropping)), (5, 7, 9, 9, "holes", False)
    )


def without_kernel(kernel, **members):
    """What is said of a class derived from `MyCell` that takes the plain path."""
    cell = type("Derived", (my_cell(),), members)
    keras_gates.kernels.register(cell, kernel)
    layer, x = keras_gates.RNN(cell(4)), np.ones((2, 3, 4), "float32")
    with counted() as calls, logged() as said:
        for _ in range(2):
            with contextlib.suppress(NotImplementedError):  # by the plain path
                layer(x, training=True)
    assert not calls
    return said


@check("the user's own: one that does something else than the cell is refused in a sentence")
def _():
    def step(self, x, states, recur):
        (h,), gates = my_cell().step(self, x, states, recur)
        return (0.99 * h,), gates

    (said,) = without_kernel("my_cell", step=step)
    beginning = "keras_gates runs Derived without its kernel: the self-test failed: my_cell is off by"
    assert said.startswith(beginning), said


@check("the user's own: equations that raise an error")
def _():
    def step(self, x, states, recur):
        raise NotImplementedError("Nobody has written this yet.")

    (said,) = without_kernel("my_cell", step=step)
    assert said == "keras_gates runs Derived without its kernel: Nobody has written this yet."


@check("the user's own: a kernel that nobody has written is missed in a sentence")
def _():
    (said,) = without_kernel("other")
    assert said == "keras_gates runs Derived without its kernel: KERAS_GATES_CELLS has no kernel 'other'."


@check("the user's own: a class that no kernel can serve is refused in a sentence")
def _():
    class Scaled(my_cell()):
        def __init__(self, units, *, scale=1.0, **kwargs):
            super().__init__(units, **kwargs)
            self.scale = scale

    for cell, reason in {
        keras_gates.LSTM: "derived from keras_gates.cells.GatedCell; got",
        keras_gates.LSTMCell: "the package has the kernel of LSTMCell.",
        Scaled: "no arguments of its own, which no kernel knows; got Scaled with scale.",
        type("Heavy", (my_cell(),), {"build_own": lambda *_: None}): "no weights of its own",
    }.items():
        try:
            keras_gates.kernels.register(cell, "my_cell")
        except (TypeError, ValueError) as error:
            assert reason in str(error)
        else:
            raise AssertionError(f"{cell} was registered")
