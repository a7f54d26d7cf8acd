"""A SavedModel in use. Needs TensorFlow and NumPy, not Keras."""

import pathlib

import numpy as np
import tensorflow as tf


class ServedModel:
    """An exported model as a callable: inputs to outputs, like the Keras model it was.

    Call arguments:
        inputs: what the model takes: one array, list or tensor, or a dict of these by name where it
            takes several. Every dtype is taken that converts without loss of meaning: int64 for int32
            (if the numbers fit), float64 for float32, `str` for strings.

    Returns:
        The output tensor, or a dict of tensors by name where the model has several.

    Raises:
        TypeError: a dtype that does not convert.
        ValueError: inputs of the wrong names or shape, or numbers out of range.
    """

    def __init__(self, path):
        if not (pathlib.Path(path) / "saved_model.pb").is_file():
            raise FileNotFoundError(f"There is no SavedModel at {path}: a folder that holds saved_model.pb.")
        try:
            self.saved = tf.saved_model.load(str(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ValueError(f"The SavedModel at {path} is damaged: {str(error).splitlines()[0]}") from error
        if "serving_default" not in self.saved.signatures:
            raise ValueError(
                f"The SavedModel at {path} has no signature serving_default, but "
                f"{', '.join(self.saved.signatures) or 'none'}."
            )

    def __call__(self, inputs):
        return self._answer("serving_default", inputs)

    def _answer(self, endpoint, inputs):
        signature = self.saved.signatures[endpoint]
        specs = signature.structured_input_signature[1]
        named = _by_name(inputs, list(specs))
        outputs = signature(**{name: convert(name, named[name], spec) for name, spec in specs.items()})
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _by_name(inputs, names):
    if len(names) == 1 and not isinstance(inputs, dict):
        return {names[0]: inputs}
    given = set(inputs) if isinstance(inputs, dict) else type(inputs).__name__
    if given != set(names):
        raise ValueError(f"The model takes a dict of {_listed(names)}; got {_listed(given)}.")
    return inputs


def _listed(names):
    return names if isinstance(names, str) else ", ".join(sorted(map(str, names)))


def convert(name, value, spec):
    """The value as a tensor of the dtype of `spec`, or a TypeError or ValueError that gives its name."""
    tensor = _to_strings(name, value) if spec.dtype == tf.string else _to_numbers(name, value, spec.dtype)
    if not spec.shape.is_compatible_with(tensor.shape):
        raise ValueError(f"`{name}` must have the shape {_shown(spec.shape)}; got {_shown(tensor.shape)}.")
    return tensor


def _to_strings(name, value):
    try:
        return tf.convert_to_tensor(value, tf.string)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be strings, in a list or array; got {_kind(value)}.") from error


def _to_numbers(name, value, wanted):
    if not tf.is_tensor(value):
        value = _to_array(name, value)
    given = tf.as_dtype(value.dtype)
    if given == wanted:
        return tf.convert_to_tensor(value)
    if given == tf.string or not np.can_cast(given.as_numpy_dtype, wanted.as_numpy_dtype, "same_kind"):
        raise TypeError(f"`{name}` must be {wanted.name}; {given.name} does not convert to it.")
    converted = tf.cast(value, wanted)
    if wanted.is_integer and tf.executing_eagerly() and not np.array_equal(converted, value):
        raise ValueError(f"`{name}` must be {wanted.name}; some of its numbers are out of range for that.")
    return converted


def _to_array(name, value):
    try:
        array = np.asarray(value)
        tf.as_dtype(array.dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numbers in a rectangular array; got {_kind(value)}.") from error
    if array.dtype == object:
        raise ValueError(f"`{name}` must be numbers in a rectangular array; got {_kind(value)}.")
    return array


def _kind(value):
    return f"{type(value).__name__} {str(value)[:60]!r}"


def _shown(shape):
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
