"""A Keras model, opened up: its recurrent layers, and how to run it one step at a time."""

from keras_gates.opened.opened import Opened, UnreadableModelError
from keras_gates.opened.whole import NotStepwiseError

__all__ = ["NotStepwiseError", "Opened", "UnreadableModelError"]
