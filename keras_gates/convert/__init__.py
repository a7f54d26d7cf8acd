"""Models for other runtimes: LiteRT and ONNX."""

from keras_gates.convert.runtimes import to_litert, to_onnx

__all__ = ["to_litert", "to_onnx"]
