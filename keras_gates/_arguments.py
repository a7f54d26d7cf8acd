"""Validation of arguments, and configs derived from the signatures of constructors."""

import contextlib
import functools
import inspect
import numbers
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import keras

# What Keras' `get` functions accept, for annotations.
Activation: TypeAlias = str | dict[str, Any] | Callable[..., Any] | None
Initializer: TypeAlias = str | dict[str, Any] | keras.Initializer | Callable[..., Any] | None
Regularizer: TypeAlias = str | dict[str, Any] | keras.Regularizer | Callable[..., Any] | None
Constraint: TypeAlias = str | dict[str, Any] | keras.constraints.Constraint | Callable[..., Any] | None

_RESOLVERS = {
    "activation": keras.activations,
    "initializer": keras.initializers,
    "regularizer": keras.regularizers,
    "constraint": keras.constraints,
}


def _resolver(argument):
    return _RESOLVERS.get(argument.rpartition("_")[2])


def resolve(argument: str, value: Any) -> Any:
    """The Keras object (activation, initializer, regularizer or constraint) that an argument names.

    Raises:
        ValueError: the value names no object of that kind; the message gives the argument and the value.
    """
    try:
        return _resolver(argument).get(value)
    except Exception as error:  # for an incomplete config, Keras raises whatever its parts raise
        kind = argument.rpartition("_")[2]
        raise ValueError(
            f"`{argument}` must be a Keras {kind}: its name, its config or a callable; got {value!r}."
        ) from error


def fresh(initializer: Any) -> Any:
    """The initializer for one more weight: a copy if the same object would draw the same values again.

    That is the case for Keras' own random initializers without a seed. Everything else is returned unchanged:
    with a seed, equal values are intended; and a user's initializer may hold anything, so copying it is not
    safe.
    """
    cls = type(initializer)
    of_keras = getattr(keras.initializers, cls.__name__, None) is cls
    unseeded = of_keras and initializer.get_config().get("seed", "none") is None
    return initializer.clone() if unseeded else initializer


def check_choice(argument: str, value: Any, choices: tuple) -> Any:
    """Return `value`, or raise a ValueError that names the argument, the value and the choices."""
    if value not in choices:
        raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, choices))}; got {value!r}.")
    return value


def check_rate(argument: str, value: Any) -> float:
    """Return `value` as a float in [0, 1), or raise a ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < 1:
        raise ValueError(f"`{argument}` must be a number from 0 up to, but less than, 1; got {value!r}.")
    return float(value)


def check_size(argument: str, value: Any, most: int = 2**24) -> int:
    """Return `value` as an int from 1 to `most`, or raise an error that names the argument.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{argument}` must be a positive integer; got {value!r} of type {type(value).__name__}."
        )
    if value <= 0:
        raise ValueError(f"`{argument}` must be a positive integer; got {value!r}.")
    if int(value) > most:
        raise ValueError(f"`{argument}` must be at most {most}; got {value!r}.")
    return int(value)


@functools.cache
def arguments_of(cls: type) -> Mapping[str, inspect.Parameter]:
    """The constructor's named parameters, including those of the base classes up to Keras' Layer.

    A class that passes `**kwargs` on to its base need not repeat the base's arguments: signatures, configs
    and layers by name all take them from here. A subclass overrides the default of its base; the names that
    a class lists in `without` are left out.
    """
    parameters: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base is keras.layers.Layer:
            break
        if "__init__" in vars(base):
            for name, parameter in list(inspect.signature(vars(base)["__init__"]).parameters.items())[1:]:
                if parameter.kind is not parameter.VAR_KEYWORD:
                    parameters.setdefault(name, parameter)
    without = getattr(cls, "without", ())
    return MappingProxyType({name: value for name, value in parameters.items() if name not in without})


def signature_of(parameters: Mapping[str, inspect.Parameter]) -> inspect.Signature:
    """The signature that `help()` and editors show: positional parameters first, `**kwargs` last."""
    in_order = sorted(parameters.values(), key=lambda parameter: parameter.kind)
    return inspect.Signature([*in_order, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])


def deserialize_values(config: dict[str, Any]) -> dict[str, Any]:
    """A config ready to be passed to a constructor: its values are Keras objects again.

    Activations, initializers and the like stay configs, since constructors accept these too. So a random
    initializer draws its seed in the constructor, as in Keras' own layers.
    """
    return {
        name: value if _resolver(name) else keras.saving.deserialize_keras_object(value)
        for name, value in config.items()
    }


def make_from_config(cls: type, config: Any) -> Any:
    """`cls(**config)`, after deserializing the values.

    A config may come from a damaged or hostile file: whatever is wrong with it raises a ValueError, which
    Keras passes on unchanged while it deserializes the enclosing objects.

    Raises:
        ValueError: the config is not a dict, or a value cannot be read or is not an argument of the class.
            The message is one sentence that names the class and the argument.
    """
    if not isinstance(config, dict):
        raise ValueError(f"The config of {cls.__name__} must be a dict; got {type(config).__name__}.")
    parameters = inspect.signature(cls).parameters
    values: dict[str, Any] = {}
    for name, value in config.items():
        with _value_error(f"`{name}` of {cls.__name__} cannot be read from its config"):
            _check_depth(value)
            if name in parameters and isinstance(parameters[name].default, bool):
                _check_flag(value)
            if name == "dtype":
                keras.dtype_policies.get(value)
            if name == "seed":
                _check_seed(value)
            values |= deserialize_values({name: value})
    with _value_error(f"{cls.__name__} cannot be created from its config"):
        return cls(**values)


DEEPEST = 64  # levels of dicts and lists; two for each wrapper around a cell


def _check_depth(value):
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list, tuple))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep.")


def _check_flag(value):
    if not isinstance(value, (int, type(None))):
        raise ValueError(f"it must be true or false; got {value!r}.")


def _check_seed(value):
    if isinstance(value, bool) or (isinstance(value, int) and not abs(value) < 2**32):
        raise ValueError(f"it must be a 32-bit integer; got {value!r}.")


@contextlib.contextmanager
def _value_error(what):
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 300 characters, to be quoted in another message."""
    line = str(error).strip().partition("\n")[0][:300]
    is_sentence = " " in line  # the message of a KeyError is the key
    return line if is_sentence else f"{type(error).__name__} {line}".rstrip()


class Configured:
    """A Keras object whose config is derived from its constructor's arguments.

    Every argument must be stored as an attribute of the same name; so no list of what to save is needed.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.__signature__ = signature_of(arguments_of(cls))

    def get_config(self):
        own = {name: _serialize(name, getattr(self, name)) for name in arguments_of(type(self))}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        return make_from_config(cls, config)


def _serialize(argument, value):
    resolver = _resolver(argument)
    return (
        resolver.serialize(value)
        if resolver and value is not None
        else keras.saving.serialize_keras_object(value)
    )
