"""Names in models saved by version 0.1.0: these still load, and are no longer written."""

import keras

from keras_gates._arguments import deserialize_values
from keras_gates.attention.cells import BahdanauCell, LuongCell
from keras_gates.attention.scores import ATTENTIONS
from keras_gates.layers.joining import JoinSteps
from keras_gates.layers.pooling import MaxPooling, MeanPooling
from keras_gates.layers.text import AtLeastOneStep, TagNames, UniqueStrings, standardize_words


class AttentionCell:
    """The former class of both attention cells, which had the arguments and weights of its attention.

    A loaded cell has a class of this name until its weights are read, because Keras looks for the weights of
    a cell in a stack under the name of its class. From then on it is a `BahdanauCell` or a `LuongCell`.
    """

    @classmethod
    def from_config(cls, config):
        config = deserialize_values(config)
        score, units, initializer = (config.pop(name) for name in ("score", "units", "kernel_initializer"))
        own = {"hard": config.pop("hard"), "seed": config.pop("seed")}
        own |= {name: config[name] for name in ("dtype", "trainable")}
        if score != "dot":
            own["kernel_initializer"] = initializer
        if score == "additive":
            own["units"] = units
        attention = _until_loaded(ATTENTIONS[score], _AttentionUntilLoaded)(**own)
        if score == "additive":
            return _until_loaded(BahdanauCell, _CellUntilLoaded)(attention=attention, **config)
        return _until_loaded(LuongCell, _CellUntilLoaded)(
            attention=attention, units=units, kernel_initializer=initializer, **config
        )


def _until_loaded(current, how):
    """A class like `current`, whose instances become `current` when their weights are loaded."""
    return type("AttentionCell", (how, current), {"current": current, "__module__": current.__module__})


class _CellUntilLoaded:
    def build_from_config(self, config):
        self.attention.memory_shape = (None, None, config["memory_size"])
        self.build(config["input_shape"])

    def load_own_variables(self, store):
        kernels = [*self.attention.weights, *([self.attention_kernel] if self.current is LuongCell else [])]
        if len(store) != len(kernels):
            raise ValueError(
                f"The attention cell {self.name!r} has {len(kernels)} weights; the file has {len(store)}."
            )
        for number, kernel in enumerate(kernels):
            kernel.assign(store[str(number)])
        self.__class__ = self.current


class _AttentionUntilLoaded:
    def load_own_variables(self, store):
        self.__class__ = self.current  # its weights were among those of the cell, which Keras loads first


class Beside:
    """The former `JoinSteps`: a `keras.layers.Concatenate`, whose `axis` was always the last."""

    @classmethod
    def from_config(cls, config):
        return JoinSteps(**{name: value for name, value in config.items() if name != "axis"})


keras.saving.get_custom_objects().update(
    {
        "keras_gates>AttentionCell": AttentionCell,
        "experiments>AtLeastOneStep": AtLeastOneStep,
        "experiments>Beside": Beside,
        "experiments>Distinct": UniqueStrings,
        "experiments>MaskedMaxPooling": MaxPooling,
        "experiments>MaskedMeanPooling": MeanPooling,
        "experiments>TagNames": TagNames,
        "experiments>standardize": standardize_words,
    }
)
