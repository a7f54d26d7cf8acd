"""Conversion of cells and layers of Keras and TensorFlow Addons to those of this package, with weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_gates._arguments import arguments_of
from keras_gates.cells.base import GatedCell
from keras_gates.cells.gru import GRUCell
from keras_gates.cells.layer_norm import LayerNormLSTMCell, LayerNormSimpleRNNCell
from keras_gates.cells.lstm import LSTMCell, PeepholeLSTMCell
from keras_gates.cells.simple import SimpleRNNCell
from keras_gates.layers.by_name import GRU, LSTM, SimpleRNN, arguments_of_rnn

_OF_KERAS = {
    keras.layers.LSTM: LSTM,
    keras.layers.GRU: GRU,
    keras.layers.SimpleRNN: SimpleRNN,
    keras.layers.LSTMCell: LSTMCell,
    keras.layers.GRUCell: GRUCell,
    keras.layers.SimpleRNNCell: SimpleRNNCell,
}


def from_keras(source: keras.layers.Layer) -> keras.layers.Layer:
    """The layer or cell of this package that is equivalent to one of Keras, with its weights if it is built.

    `implementation` and `use_cudnn`, which say only how Keras computes, are left out; where Keras draws a
    dropout mask per gate, `dropout_per_gate` is set.

    Args:
        source: a `keras.layers.LSTM`, `GRU` or `SimpleRNN`, or the cell of one.

    Returns:
        A `keras_gates` layer, or cell, of the same name and configuration.

    Raises:
        TypeError: `source` is none of these.
    """
    if type(source) not in _OF_KERAS:
        known = ", ".join(cls.__name__ for cls in _OF_KERAS)
        raise TypeError(f"`source` must be one of Keras' {known}; got {source!r}.")
    target = _OF_KERAS[type(source)]
    arguments = {*arguments_of(getattr(target, "cell_class", target)), *arguments_of_rnn()}
    arguments |= {"name", "dtype", "trainable", "activity_regularizer"}
    cell = getattr(source, "cell", source)
    config = {**cell.get_config(), **source.get_config()}  # SimpleRNN's config lacks the seed
    config = {name: value for name, value in config.items() if name in arguments}
    # Keras' LSTM and GRU draw a mask per gate with implementation 1, which recurrent dropout selects.
    if getattr(cell, "implementation", None) == 1:
        config["dropout_per_gate"] = True
    ours = target.from_config(config)
    if source.built:
        ours.build(source.get_build_config()["input_shape"])
        ours.set_weights(source.get_weights())
    return ours


def from_addons(name: str, config: Mapping[str, Any], weights: Sequence[Any]) -> GatedCell:
    """The cell of this package that is equivalent to one of TensorFlow Addons.

    Addons needs a version of Keras that cannot be used together with this one. So this function does not take
    the cell itself, but `cell.get_config()`, also found in the JSON of a saved model, and
    `cell.get_weights()`.

    Args:
        name: `"PeepholeLSTMCell"`, `"LayerNormLSTMCell"` or `"LayerNormSimpleRNNCell"`.
        config: the cell's config, a dict.
        weights: its weights, a list of arrays in the order of `get_weights()`.

    Returns:
        The cell, built, with those weights. The `LayerNormLSTMCell` of Addons adds a separate shift β to each
        normalised product, besides the bias; here the three are summed into one bias.

    Raises:
        ValueError: the name is unknown, or the weights do not fit the config.
    """
    if name not in _OF_ADDONS:
        raise ValueError(f"`name` must be one of {', '.join(map(repr, _OF_ADDONS))}; got {name!r}.")
    cell_class, translate = _OF_ADDONS[name]
    own, weights = translate(config, [np.asarray(weight) for weight in weights])
    known = {*arguments_of(cell_class), "name", "dtype", "trainable"}
    cell = cell_class(**{key: value for key, value in {**config, **own}.items() if key in known})
    cell.build((None, len(weights[0])))
    given, expected = ([tuple(weight.shape) for weight in of] for of in (weights, cell.trainable_weights))
    if given != expected:
        raise ValueError(f"`weights` of {name} must come to the shapes {expected}; they come to {given}.")
    cell.set_weights(weights)
    return cell


def _peephole(config, weights):
    return {"peephole_initializer": config.get("kernel_initializer", "glorot_uniform")}, weights


def _layer_norm_lstm(config, weights):
    kernels, biases, norms = weights[:2], weights[2:-6], weights[-6:]
    kernel_gamma, kernel_beta, recurrent_gamma, recurrent_beta, *of_state = norms
    bias = sum(biases, kernel_beta + recurrent_beta)
    own = {
        "use_bias": True,
        "gamma_initializer": config.get("norm_gamma_initializer", "ones"),
        "epsilon": config.get("norm_epsilon", 1e-3),
        "carry": "normalized",
    }
    return own, [*kernels, bias, kernel_gamma, recurrent_gamma, *of_state]


def _layer_norm_simple(config, weights):
    return {"epsilon": config.get("layernorm_epsilon", 1e-5)}, weights


_OF_ADDONS = {
    "PeepholeLSTMCell": (PeepholeLSTMCell, _peephole),
    "LayerNormLSTMCell": (LayerNormLSTMCell, _layer_norm_lstm),
    "LayerNormSimpleRNNCell": (LayerNormSimpleRNNCell, _layer_norm_simple),
}
