"""The network that names a warped digit: a convolutional one, before which a transformer may stand."""

import keras
from keras import layers, ops

import keras_gates
from experiments.warping import TASK
from keras_gates.layers.text import TagNames

TRANSFORMERS = ("none", "once", "recurrent")
TRANSFORMER = "transformer"
SLOWER = 0.1  # learning rate of the transformer relative to the others': Jaderberg et al. 2015, appendix A.4


def network(shape, labels, options):
    """Pictures of uint8 (batch, height, width) -> logits (batch, labels).

    shape: (height, width). labels: how many there are.

    A recurrent transformer (Sønderby et al. 2015) shows `options.steps` views, whose features are averaged.
    """
    pictures = keras.Input(shape, dtype="uint8", name="pictures")
    x = ops.expand_dims(ops.cast(pictures, "float32") / 255, -1)
    classifier = _classifier(options)
    if options.transformer == "none":
        features = classifier(x)
    else:
        transformer = keras_gates.SpatialTransformer(
            _localisation(options), return_theta=True, name=TRANSFORMER
        )
        views, _ = transformer(x)
        if options.transformer == "once":
            features = classifier(views)
        else:
            features = layers.GlobalAveragePooling1D()(keras_gates.EachStep(classifier)(views))
    x = layers.Dropout(options.dropout)(features)
    return keras.Model(pictures, layers.Dense(labels, name="logits")(x), name=TASK)


def _classifier(options):
    return keras.Sequential(
        [
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(options.dropout),
            layers.Dense(128, activation="relu"),
        ],
        name="classifier",
    )


def _localisation(options):
    """From a picture to features of it, or of each of the views."""
    seen = [
        layers.AveragePooling2D(2),
        layers.Conv2D(20, 5, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(20, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(50, activation="relu"),
    ]
    if options.transformer == "recurrent":
        cell = keras_gates.cell_classes()[options.cell]
        seen.append(layers.RepeatVector(options.steps))
        seen += [
            keras_gates.RNN(cell(options.units), return_sequences=True, name=f"recurrent_{level}")
            for level in range(1, options.layers + 1)
        ]
    return keras.Sequential(seen, name="localisation")


def serving(model, names):
    """The model from pictures to `labels` (batch,) and `probabilities` (batch, labels).

    With a transformer also to `views`, what the network sees, (batch, height, width) or (batch, steps,
    height, width), and `theta`, where it looks, (batch, 2, 3) or (batch, steps, 2, 3).
    """
    logits = model.get_layer("logits").output
    answer = {
        "labels": TagNames(names, name="label")(logits[:, None])[:, 0],
        "probabilities": layers.Softmax(name="probabilities")(logits),
    }
    for layer in model.layers:
        if layer.name == TRANSFORMER:
            views, answer["theta"] = layer.output
            answer["views"] = views[..., 0]
    return keras.Model(model.input, answer, name=TASK)


class TwoRates(keras.optimizers.Adam):
    """Adam with a smaller learning rate for the transformer, whose small steps move the whole picture."""

    def update_step(self, gradient, variable, learning_rate):
        # a variable of TensorFlow, named by its path
        rate = learning_rate * (SLOWER if variable.name.startswith(f"{TRANSFORMER}/") else 1.0)
        super().update_step(gradient, variable, rate)


def optimizer(rate, options):
    return TwoRates(rate, clipnorm=options.clip)
