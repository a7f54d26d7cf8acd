"""The network that reads word ids, and the model that reads raw text."""

import keras

from experiments.common.recurrent import recurrent_pool
from experiments.sentiment import TASK
from keras_gates.layers.text import AtLeastOneStep


def network(vocabulary, labels, options):
    """Word ids (batch, time), 0 for padding -> logits (batch, labels).

    vocabulary, labels: how many there are.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    features = keras.layers.Embedding(vocabulary, options.embedding, mask_zero=True, name="embedding")(ids)
    features = recurrent_pool(features, options)
    logits = keras.layers.Dense(labels, name="logits")(keras.layers.Dropout(options.dropout)(features))
    return keras.Model(ids, logits, name=TASK)


def serving(model, vectorizer):
    """The model from raw texts (batch,) to the probability of each label (batch, labels)."""
    texts = keras.Input((), dtype="string", name="texts")
    logits = model(AtLeastOneStep(name="at_least_one_step")(vectorizer(texts)))
    return keras.Model(texts, keras.layers.Softmax(name="probabilities")(logits), name=TASK)
