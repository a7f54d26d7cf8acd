"""Models for other runtimes: LiteRT and ONNX.

A text model is converted without its tokenizer, since neither runtime has TensorFlow's string operations.
"""

from keras_gates.convert.litert import to_litert
from keras_gates.convert.onnx import to_onnx

__all__ = ["to_litert", "to_onnx"]
