"""The network that looks at every frame, and remembers."""

import keras

import keras_gates
from experiments.common import pictures
from experiments.common.recurrent import recurrent_stack
from experiments.video import TASK
from keras_gates.layers.text import TagNames


def network(labels, options):
    """Frames of uint8 (batch, time, height, width, 3), of any size -> logits (batch, time, labels).

    labels: how many there are.
    options: with `frame_by_frame`, no layer is recurrent.
    """
    frames = keras.Input((None, None, None, 3), dtype="uint8", name="frames")
    features = keras_gates.EachStep(_looking(options), name="looking")(frames)
    if not options.frame_by_frame:
        features = recurrent_stack(features, options)
    logits = keras.layers.Dense(labels, name="logits")(keras.layers.Dropout(options.dropout)(features))
    return keras.Model(frames, logits, name=TASK)


def serving(model, names):
    """The model from raw frames to the names of their labels, and to the probabilities of all labels.

    It returns `labels` (batch, time), and `probabilities` (batch, time, labels) in the order of `names`.
    """
    answer = {
        "labels": TagNames(names, name="labels")(model.output),
        "probabilities": keras.layers.Softmax(name="probabilities")(model.output),
    }
    return keras.Model(model.input, answer, name=TASK)


def _looking(options):
    """Pictures -> vectors (pictures, units): the strongest features, wherever they are."""
    encoder = pictures.encoder(options)
    features = keras.layers.GlobalMaxPooling1D()(encoder.output)
    features = keras.layers.Dense(options.units, activation="relu")(features)
    return keras.Model(encoder.input, features, name="pictures_to_vectors")
