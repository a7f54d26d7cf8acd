"""What callers give a loaded model, as tensors and arrays of the dtypes and shapes that it takes."""

import numpy as np
import tensorflow as tf


def unnamed(outputs):
    """The only output of a dict by name; the dict, if there are several."""
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def by_name(inputs, names):
    """The inputs as a dict of these names; a ValueError if they are not. One input needs no name."""
    if isinstance(inputs, dict) and inputs.keys() == names.keys():
        return inputs
    if len(names) == 1 and not isinstance(inputs, dict):
        return dict.fromkeys(names, inputs)
    given = inputs if isinstance(inputs, dict) else type(inputs).__name__
    raise ValueError(f"The model takes a dict of {listed(names)}; got {listed(given)}.")


def listed(names):
    """Names in a sentence."""
    return names if isinstance(names, str) else ", ".join(sorted(map(str, names)))


def convert(name, value, spec):
    """The value as a tensor of the dtype and shape of `spec`; a TypeError or ValueError gives its name."""
    tensor = to_tensor(name, value, spec.dtype)
    check_shape(name, tensor, spec.shape)
    return tensor


def to_tensor(name, value, dtype):
    """The value as a tensor of a dtype, or a TypeError or ValueError that gives its name."""
    return _to_strings(name, value) if dtype == tf.string else _to_numbers(name, value, dtype)


def check_shape(name, tensor, shape):
    """Raise a ValueError that gives the name unless the tensor has the shape."""
    if not shape.is_compatible_with(tensor.shape):
        raise ValueError(f"`{name}` must have the shape {shown(shape)}; got {shown(tensor.shape)}.")


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


def to_array_of(name, value, dtype):
    """The value as an array of a dtype, or a TypeError or ValueError that gives its name."""
    array = value if isinstance(value, np.ndarray) else _to_array(name, value)
    return array if array.dtype == dtype else to_tensor(name, array, tf.as_dtype(dtype)).numpy()


def to_array_like(name, value, like):
    """The value as an array of the dtype and shape of another; a TypeError or ValueError gives its name."""
    array = to_array_of(name, value, like.dtype)
    if array.shape != like.shape:
        check_shape(name, array, tf.TensorShape(like.shape))
    return array


def _kind(value):
    return f"{type(value).__name__} {str(value)[:60]!r}"


def shown(shape):
    """A shape in a sentence."""
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
