"""Checked arguments, and a config read off the constructor."""

import inspect

import keras
import numpy as np

_RESOLVERS = {
    "activation": keras.activations,
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


def _resolver(argument):
    return _RESOLVERS.get(argument.rpartition("_")[2])


def resolve(argument, value):
    """The Keras object (activation, initializer, regularizer or constraint) that an argument names.

    Raises:
        ValueError: nothing of that kind has this name; the sentence gives the argument and the value.
    """
    try:
        return _resolver(argument).get(value)
    except (ValueError, TypeError) as error:
        kind = argument.rpartition("_")[2]
        raise ValueError(
            f"`{argument}` must be a Keras {kind}: its name, its config or a callable; got {value!r}."
        ) from error


def fresh(initializer):
    """A copy of an initializer, for one weight: one and the same would draw the same values for each."""
    return initializer.clone() if isinstance(initializer, keras.Initializer) else initializer


def check_choice(argument, value, choices):
    """Return `value`, or raise a ValueError that names the argument, the value and the choices."""
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, choices))}; got {value!r}.")
    return value


def check_rate(argument, value):
    """Return `value` as a float in [0, 1), or raise a ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"`{argument}` must be a number from 0 up to, but less than, 1; got {value!r}.")
    return float(value)


def check_size(argument, value):
    """Return `value` as a positive int, or raise a TypeError or ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"`{argument}` must be a positive integer; got {value!r} of type {type(value).__name__}."
        )
    if value <= 0:
        raise ValueError(f"`{argument}` must be a positive integer; got {value!r}.")
    return int(value)


def arguments_of(cls):
    """The constructor's named parameters, gathered over the class and its bases up to Keras' Layer.

    A class that passes `**kwargs` on to its base need not repeat the base's arguments: this is
    where signatures, configs and layers find them all. The nearest class decides a default;
    what a class lists in `without` is not an argument of it.
    """
    parameters = {}
    for base in cls.__mro__:
        if base is keras.layers.Layer:
            break
        if "__init__" in vars(base):
            for name, parameter in list(inspect.signature(base.__init__).parameters.items())[1:]:
                if parameter.kind is not parameter.VAR_KEYWORD:
                    parameters.setdefault(name, parameter)
    without = getattr(cls, "without", ())
    return {name: parameter for name, parameter in parameters.items() if name not in without}


def signature_of(parameters):
    """A signature that `help()` and editors show: positional ones first, `**kwargs` of Keras' Layer last."""
    in_order = sorted(parameters.values(), key=lambda parameter: parameter.kind)
    return inspect.Signature([*in_order, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])


def deserialize_values(config):
    """A config whose values are Keras objects again, ready to be passed to a constructor."""
    return {name: keras.saving.deserialize_keras_object(value) for name, value in config.items()}


class Configured:
    """A Keras object whose config is read off its constructor's arguments.

    Every argument is kept as the attribute of the same name; so it need not be listed again to be saved.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature_of(arguments_of(cls))

    def get_config(self):
        own = {name: _serialize(name, getattr(self, name)) for name in arguments_of(type(self))}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        return cls(**deserialize_values(config))


def _serialize(argument, value):
    resolver = _resolver(argument)
    return (
        resolver.serialize(value)
        if resolver and value is not None
        else keras.saving.serialize_keras_object(value)
    )
