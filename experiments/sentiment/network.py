"""The network that reads word ids, and the model that reads raw text."""

import keras

from experiments.common import strength
from experiments.common.recurrent import recurrent_pool
from experiments.sentiment import TASK
from keras_gates.layers.text import AtLeastOneStep, FirstSteps, HashedNGrams

BUCKETS = 2**16  # vectors that all n-grams share
VECTORS = "word_dropout"  # the layer that gives the vectors of the words
LONGEST = 10_000  # words or characters that a saved model reads of a text, unless it is told otherwise


def network(vocabulary, labels, options):
    """Word ids (batch, time), 0 for padding -> logits (batch, labels).

    vocabulary, labels: how many there are.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    vectors = strength.embedding(options)
    features = vectors(vocabulary, options.embedding, mask_zero=True, name="embedding")(ids)
    if options.ngrams > 1:
        of_ngrams = vectors(BUCKETS, options.embedding, mask_zero=True, name="ngram_embedding")
        hashed = [HashedNGrams(n, BUCKETS, name=f"ngrams_{n}")(ids) for n in range(2, options.ngrams + 1)]
        features = keras.layers.Add(name="with_ngrams")([features, *map(of_ngrams, hashed)])
    # whole vectors, so that the network learns to do without any word
    drop = keras.layers.Dropout(options.word_dropout, noise_shape=(None, None, 1), name=VECTORS)
    features = drop(features)
    features = recurrent_pool(features, options)
    features = keras.layers.Dropout(options.dropout)(features)
    logits = keras.layers.Dense(labels, dtype="float32", name="logits")(features)  # whatever the policy is
    return keras.Model(ids, logits, name=TASK)


def serving(model, vectorizer, longest=LONGEST):
    """The model from raw texts (batch,) to the probability of each label (batch, labels).

    longest: it reads at most so many words or characters of a text, the first ones.
    """
    texts = keras.Input((), dtype="string", name="texts")
    ids = FirstSteps(longest, name="first_steps")(vectorizer(texts))
    logits = model(AtLeastOneStep(name="at_least_one_step")(ids))
    return keras.Model(texts, keras.layers.Softmax(name="probabilities")(logits), name=TASK)
