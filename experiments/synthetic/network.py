"""The network of every task: recurrent layers, and an answer at every step."""

import keras
import numpy as np
import tensorflow as tf

from experiments.common.recurrent import recurrent_stack


def network(task, options):
    """The model from inputs (batch, time, features) to outputs (batch, time, outputs)."""
    inputs = keras.Input((None, len(task.features)), name="inputs")
    outputs = keras.layers.Dense(len(task.outputs), name="outputs")(recurrent_stack(inputs, options))
    return keras.Model(inputs, outputs)


def answering(task, model):
    """The model from inputs to answers, which is saved."""
    answers = keras.layers.Activation(task.kind.activation, name="answers")(model.output)
    return keras.Model(model.input, answers)


def answers_of(task, model, at_once=250):
    """The function from inputs to the answers of a network, as arrays.

    at_once: sequences that are read at once.
    """
    signature = tf.TensorSpec((None, None, len(task.features)), tf.float32)
    # not `predict`, which warns of every new length
    answer = tf.function(answering(task, model), input_signature=[signature])

    def answers(inputs):
        batches = range(0, len(inputs), at_once)
        return np.concatenate([answer(inputs[start : start + at_once]).numpy() for start in batches])

    return answers
