"""Models for other runtimes: LiteRT and ONNX.

A model of text is converted from its tokens on, for neither runtime has TensorFlow's string operations.
"""

from keras_gates.convert.litert import to_litert
from keras_gates.convert.onnx import to_onnx

__all__ = ["to_litert", "to_onnx"]
