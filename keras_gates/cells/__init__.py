"""The cells: each is its equations, on the base `GatedCell`."""

from keras_gates.cells.base import GatedCell, register

__all__ = ["GatedCell", "register"]
