"""The network that copies: one recurrent layer and an answer at the last step."""

import keras

import keras_gates
from experiments.gradients.data import SYMBOLS


def network(cell, units, length):
    recurrent = keras_gates.RNN(keras_gates.cell_classes()[cell](units), name="recurrent")
    return keras.Sequential(
        [keras.layers.Input((length, SYMBOLS + 1)), recurrent, keras.layers.Dense(SYMBOLS, name="logits")]
    )
