"""The cells: each defines its equations, on the base class `GatedCell`."""

from keras_gates.cells.base import GatedCell, register

__all__ = ["GatedCell", "register"]
