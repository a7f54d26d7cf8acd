"""What regularises networks for texts: the options that `sentiment` and `tagging` share, and their loss."""

import keras
from keras import ops

import keras_gates
from experiments.common.adversarial import train_adversarially
from experiments.common.errors import InputError
from experiments.common.options import not_negative, share


def add_options(parser):
    """Add the options that regularise a network for texts."""
    group = parser.add_argument_group("strength")
    group.add_argument(
        "--label-smoothing",
        type=share,
        default=0.0,
        help="share of each target that is spread over all labels alike; not with a CRF",
    )
    group.add_argument(
        "--weight-dropout",
        type=share,
        default=0.0,
        help="share of the elements of recurrent matrices that are dropped in training, anew for each batch",
    )
    group.add_argument(
        "--adversarial",
        type=not_negative,
        default=0.0,
        metavar="EPSILON",
        help="train also on vectors shifted to where the loss grows fastest, by this norm for all those of "
        "an example together, such as 5 for texts; the vectors of tokens are normalised",
    )


def embedding(options):
    """The class of the layer of the tokens' vectors."""
    # a task, or a caller, may have no such option
    return keras_gates.NormalizedEmbedding if getattr(options, "adversarial", 0) else keras.layers.Embedding


def regularised(network, vectors, batches, options):
    """The network, made ready for the training that the options ask for.

    vectors: the name of the layer that gives the vectors of the tokens, (batch, time, features).
    batches: those of the training part.
    """
    if options.adversarial:
        if options.devices > 1:
            raise InputError("--adversarial trains on one device; leave out --devices.")
        train_adversarially(network, vectors, batches, options.adversarial)
    return network


def plain(network):
    """The trained network with plain vectors in the place of normalised ones. All other layers are the same.

    Who serves it need not normalise a whole vocabulary for each word.
    """
    if not any(isinstance(layer, keras_gates.NormalizedEmbedding) for layer in network.layers):
        return network
    # Keras compiles a clone as its original, whose optimizer and loss may be none that Keras can make again
    not_compiled = keras.Model(network.input, network.output, name=network.name)
    return keras.models.clone_model(not_compiled, clone_function=_plain_layer)


def _plain_layer(layer):
    return layer.folded() if isinstance(layer, keras_gates.NormalizedEmbedding) else layer


def cross_entropy(options, crf=None):
    """The loss that the options ask for.

    crf: that of a network with a CRF, or None for the cross-entropy of logits.
    """
    if not options.label_smoothing:
        return crf
    if crf is not None:
        raise InputError(
            "--label-smoothing does not go with a CRF, whose targets are whole sequences of tags."
        )
    return SmoothedCrossEntropy(options.label_smoothing)


class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits and whole-number targets, a share of each target spread over all labels.

    Szegedy et al. 2016, Rethinking the inception architecture for computer vision.
    """

    def __init__(self, smoothing, **kwargs):
        super().__init__(**kwargs)
        self.smoothing = smoothing

    def call(self, y_true, y_pred):
        targets = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(
            targets, y_pred, from_logits=True, label_smoothing=self.smoothing
        )
