"""A Keras model, opened: its recurrent layers, and how it runs one step at a time."""

from keras_gates.opened.opened import Opened, UnreadableModelError
from keras_gates.opened.whole import NotStepwiseError

__all__ = ["NotStepwiseError", "Opened", "UnreadableModelError"]
