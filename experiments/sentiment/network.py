"""The network that reads word ids, and the model that reads raw text."""

import keras

from experiments.common.recurrent import recurrent_pool
from experiments.sentiment import TASK
from keras_gates.layers.text import AtLeastOneStep, FirstSteps, HashedNGrams

BUCKETS = 2**16  # vectors that all n-grams share
LONGEST = 10_000  # words or characters that a saved model reads of a text, unless it is told otherwise


def network(vocabulary, labels, options):
    """Word ids (batch, time), 0 for padding -> logits (batch, labels).

    vocabulary, labels: how many there are.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    features = _vectors(vocabulary, options.embedding, "embedding")(ids)
    if options.ngrams > 1:
        of_ngrams = _vectors(BUCKETS, options.embedding, "ngram_embedding")
        hashed = [HashedNGrams(n, BUCKETS, name=f"ngrams_{n}")(ids) for n in range(2, options.ngrams + 1)]
        features = keras.layers.Add(name="with_ngrams")([features, *map(of_ngrams, hashed)])
    if options.word_dropout:
        # whole vectors, so that the network learns to do without any word
        features = keras.layers.Dropout(options.word_dropout, noise_shape=(None, None, 1))(features)
    features = recurrent_pool(features, options)
    logits = keras.layers.Dense(labels, name="logits")(keras.layers.Dropout(options.dropout)(features))
    return keras.Model(ids, logits, name=TASK)


def _vectors(number, width, name):
    return keras.layers.Embedding(number, width, mask_zero=True, name=name)


def serving(model, vectorizer, longest=LONGEST):
    """The model from raw texts (batch,) to the probability of each label (batch, labels).

    longest: it reads at most so many words or characters of a text, the first ones.
    """
    texts = keras.Input((), dtype="string", name="texts")
    ids = FirstSteps(longest, name="first_steps")(vectorizer(texts))
    logits = model(AtLeastOneStep(name="at_least_one_step")(ids))
    return keras.Model(texts, keras.layers.Softmax(name="probabilities")(logits), name=TASK)
