"""The network that looks at a picture in a few glances."""

import keras
from keras import ops

import keras_gates
from experiments.glimpses import TASK
from keras_gates.layers.text import TagNames

READERS = ("draw", "ram")
POLICY = 2  # numbers for each glance that REINFORCE needs, before the logits
FEATURES = 128  # of a glimpse of the retina


def network(shape, labels, options):
    """Pictures of uint8 (batch, height, width) -> for each glance the logits of all labels.

    shape: (height, width). labels: how many there are.

    Returns a model with the output (batch, glances, labels). Of the reader "ram" the last axis begins with
    `POLICY` numbers for `GlanceLoss`. The layer `glances` looks, and the layer `logits` gives the logits.
    """
    pictures = keras.Input(shape, dtype="uint8", name="pictures")
    memory = ops.expand_dims(ops.cast(pictures, "float32") / 255, -1)
    nothing = ops.zeros_like(memory[:, :1, :1, 0])
    heard = keras.layers.RepeatVector(options.glances)(nothing[:, 0])
    layer = keras_gates.AttentionRNN(_looking_cell(options), return_sequences=True, name="glances")
    x = layer(heard, memory=memory)
    policy = []
    if options.reader == "ram":
        x, policy = x[..., :-POLICY], [x[..., -POLICY:]]
    for level in range(2, options.layers + 1):
        x = keras_gates.RNN(_cell(options), return_sequences=True, name=f"recurrent_{level}")(x)
    x = keras.layers.Dropout(options.dropout)(x)
    logits = keras.layers.Dense(labels, name="logits")(x)
    outputs = keras.layers.Concatenate()([*policy, logits]) if policy else logits
    return keras.Model(pictures, outputs, name=TASK)


def _cell(options):
    return keras_gates.cell_classes()[options.cell](options.units)


def _looking_cell(options):
    if options.reader == "draw":
        return keras_gates.BahdanauCell(_cell(options), keras_gates.DrawAttention(options.patch))
    features = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(FEATURES, activation="relu")])
    retina = keras_gates.RetinaAttention(
        options.patch, options.scales, stddev=options.stddev, features=features, seed=options.seed
    )
    return keras_gates.GlimpseCell(_cell(options), retina)


def serving(model, names):
    """The model from pictures to the names of the labels after the last glance, and to probabilities.

    It returns `labels` (batch,), and `probabilities` (batch, glances, labels): those after each glance.
    """
    logits = model.get_layer("logits").output
    answer = {
        "labels": TagNames(names, name="last_label")(logits)[:, -1],
        "probabilities": keras.layers.Softmax(name="probabilities")(logits),
    }
    return keras.Model(model.input, answer, name=TASK)


class GlanceLoss(keras.losses.Loss):
    """The cross-entropy after the last glance; of the reader "ram" also the loss of its policy."""

    def __init__(self, labels, name="glance_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.labels = labels
        self.policy = keras_gates.ReinforceLoss(reduction="none")

    def call(self, y_true, y_pred):
        label = ops.reshape(y_true, (-1,))
        logits = y_pred[:, -1, -self.labels :]
        loss = keras.losses.sparse_categorical_crossentropy(label, logits, from_logits=True)
        return loss if y_pred.shape[-1] == self.labels else loss + self.policy(label, y_pred)


class GlanceAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """How often the label after the last glance is right."""

    def __init__(self, labels, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.labels = labels

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, y_pred[:, -1, -self.labels :], sample_weight)
