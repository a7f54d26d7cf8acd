"""Adversarial training on the vectors of tokens (Miyato et al. 2017).

To the loss of a batch is added that of the same batch with its vectors shifted in the direction in which the
loss grows fastest.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

import keras_gates
from keras_gates.cells.inside import attributes

TINY = 1e-12


def train_adversarially(network, layer, batches, epsilon):
    """Let `fit` train a network on shifted vectors too. Its losses and metrics stay those of the others.

    layer: the name of the layer whose output is shifted, (batch, time, features).
    batches: `Epochs` of the training part, by which the tokens of each `NormalizedEmbedding` are counted.
    epsilon: the norm of what is added to all vectors of an example together.
    """
    count_tokens(network, batches)
    network.train_step = functools.partial(_train_step, network, network.get_layer(layer), epsilon)


def count_tokens(network, batches):
    """Set the frequencies of every `NormalizedEmbedding` to how often its tokens occur; padding is 0."""
    layers = [layer for layer in network.layers if isinstance(layer, keras_gates.NormalizedEmbedding)]
    ids = keras.Model(network.input, [layer.input for layer in layers])
    counts = [np.zeros(layer.input_dim) for layer in layers]
    for inputs, *_ in batches.once():
        for count, found in zip(counts, keras.tree.flatten(ids(inputs)), strict=True):
            count += np.bincount(np.ravel(found), minlength=len(count))
    for layer, count in zip(layers, counts, strict=True):
        count[0] = 0
        layer.frequencies.assign(count)


def perturbation(gradient, epsilon):
    """What to add to the vectors (batch, time, features): along the gradient, of norm ε for each example.

    In float32, whatever the dtype of the gradient.
    """
    gradient = tf.cast(gradient, tf.float32)  # in half precision, the sum of many squares would be far off
    axes = list(range(1, len(gradient.shape)))
    # divided by its largest element first, since the square of a small gradient may be zero
    largest = tf.reduce_max(tf.abs(gradient), axes, keepdims=True)
    scaled = gradient / (largest + TINY)
    norm = tf.sqrt(tf.reduce_sum(tf.square(scaled), axes, keepdims=True))
    return epsilon * scaled / (norm + TINY)


def _train_step(network, layer, epsilon, data):
    """`keras.Model.train_step`, with both losses.

    layer: gives the vectors. Its method `call` is replaced, so masks and all else stay as they are.
    """
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    variables = network.trainable_variables
    call, vectors = layer.call, []

    def loss_with(call):
        with attributes(layer, call=call):
            answers = network(inputs, training=True)
        return network.compute_loss(inputs, targets, answers, weights, training=True), answers

    def watched(*arguments, **named):
        vectors.append(call(*arguments, **named))
        tape.watch(vectors)
        return vectors[0]

    with tf.GradientTape(persistent=True) as tape:
        loss, answers = loss_with(watched)
        with tape.stop_recording():
            of_vectors, *gradients = tape.gradient(loss, [*vectors, *variables])
            added = tf.cast(perturbation(of_vectors, epsilon), of_vectors.dtype)
        more_loss, _ = loss_with(lambda *_, **__: vectors[0] + added)
    more_gradients = tape.gradient(more_loss, variables)
    network.optimizer.apply(list(map(_sum, gradients, more_gradients)), variables)
    _count_loss(network, loss, inputs)
    return network.compute_metrics(inputs, targets, answers, weights)


def _sum(one, other):
    """The sum of two gradients of a weight; None where it has none."""
    return None if one is None else tf.convert_to_tensor(one) + tf.convert_to_tensor(other)


def _count_loss(network, loss, inputs):
    tracker = next(metric for metric in network.metrics if metric.name == "loss")
    tracker.update_state(loss, sample_weight=tf.shape(keras.tree.flatten(inputs)[0])[0])
