"""The networks that tag sequences: from raw strings to logits, and from there to the names of tags."""

import keras
from keras import ops

import keras_gates
from experiments.common import recurrent as models
from keras_gates.layers.text import TagNames, UniqueStrings

PADDING = ""  # no word and no character is the empty string


def text_network(alphabet, tags, options):
    """Texts (batch,) -> logits (batch, time, tags), a step per character; the shorter texts are padded."""
    texts = keras.Input((), dtype="string", name="texts")
    features = _characters(texts, alphabet, options.embedding)
    return _tagger(texts, features, tags, options)


def word_network(vocabulary, alphabet, tags, options):
    """Words (batch, time), the shorter sentences padded with "" -> logits (batch, time, tags).

    vocabulary: the words with a vector of their own; the others share one.
    alphabet: the characters with a vector of their own, or None to read words by their form alone.
    """
    words = keras.Input((None,), dtype="string", name="words")
    ids = keras.layers.StringLookup(vocabulary=vocabulary, mask_token=PADDING, name="forms")(words)
    features = keras.layers.Embedding(
        len(vocabulary) + 2, options.embedding, mask_zero=True, name="form_vectors"
    )(ids)
    # drops whole vectors, so that the network learns to tag words that it has never seen
    features = keras.layers.Dropout(options.word_dropout, noise_shape=(None, None, 1))(features)
    if alphabet is not None:
        spelling = _spelling(words, alphabet, options)
        features = keras_gates.JoinSteps(name="form_and_characters")([features, spelling])
    return _tagger(words, features, tags, options)


def serving(network, tags):
    """The model from raw strings to the names of their tags, and to the probabilities of all tags.

    It returns `tags` (batch, time), "" for padding, and `probabilities` (batch, time, tags) in the order of
    the argument `tags`.
    """
    logits = network.output
    answer = {
        "tags": TagNames(tags, name="tags")(logits),
        "probabilities": keras.layers.Activation("softmax", name="probabilities")(logits),
    }
    return keras.Model(network.input, answer, name=network.name)


def _tagger(strings, features, tags, options):
    features = models.recurrent_stack(features, options, residual=options.residual)
    features = keras.layers.Dropout(options.dropout)(features)
    return keras.Model(strings, keras.layers.Dense(tags, name="logits")(features), name="tagger")


def _characters(texts, alphabet, width):
    """Texts (batch,) -> a vector for each character (batch, time, width), masked beyond their ends."""
    ids = keras.layers.TextVectorization(
        standardize=None, split="character", vocabulary=alphabet, name="characters"
    )(texts)
    vectors = keras.layers.Embedding(len(alphabet) + 2, width, mask_zero=True, name="character_vectors")
    return vectors(ids)


def _spelling(words, alphabet, options):
    """Words (batch, time) -> what a recurrent net read in both directions of their characters' sequence.

    Every distinct word of the batch is read once, wherever it stands.
    """
    distinct, positions = UniqueStrings(name="distinct_words")(words)
    features = _characters(distinct, alphabet, options.character_embedding)
    cell = keras_gates.cell_classes()[options.cell](options.character_units)
    spelling = keras.layers.Bidirectional(keras_gates.RNN(cell), name="spelling")(features)
    return ops.take(spelling, positions, axis=0)
