"""The networks that tag sequences: from raw strings to logits or the chain of a CRF, and to names of tags."""

import keras
import numpy as np
from keras import ops

import keras_gates
from experiments.common import recurrent as models
from experiments.common import strength
from keras_gates.layers.text import LowerCase, TagNames, UniqueStrings, WordShape

SHAPE_EMBEDDING = 16
AUXILIARY_WEIGHT = 0.5  # of the loss of tags that are learned beside the others
PADDING = ""  # no word and no character is the empty string
UNKNOWN = 1  # how a string lookup numbers what is not in its vocabulary; padding is 0


def vectors_of(network):
    """The name of the layer that gives the vectors of the words, or of the characters of a text."""
    return "word_dropout" if network.input.name == "words" else "character_vectors"


def text_network(alphabet, tags, options):
    """Texts (batch,) -> logits (batch, time, tags), a step per character; the shorter texts are padded."""
    texts = keras.Input((), dtype="string", name="texts")
    features = _characters(texts, alphabet, options.embedding, strength.embedding(options))
    return _tagger(texts, features, tags, options)


def word_network(vocabulary, alphabet, tags, options, shapes=None, known=None):
    """Words (batch, time), the shorter sentences padded with "" -> logits (batch, time, tags).

    vocabulary: the words with a vector of their own; the others share one.
    alphabet: the characters with a vector of their own, or None to read words by their form alone.
    shapes: None, or the shapes with a vector of their own, as `WordShape` writes them; the vocabulary is then
        one of lower-case words.
    known: None, or vectors that are not trained, as a dict by word.
    """
    words = keras.Input((None,), dtype="string", name="words")
    forms = words if shapes is None else LowerCase(name="lower_case")(words)
    features = _vectors(forms, vocabulary, options.embedding, "form", strength.embedding(options))
    features = _dropped(features, options, "word_dropout")
    if known is not None:
        features = keras_gates.JoinSteps(name="form_and_known")([features, _known(words, known, options)])
    if alphabet is not None:
        spelling = _spelling(words, alphabet, options)
        features = keras_gates.JoinSteps(name="form_and_characters")([features, spelling])
    if shapes is not None:
        shape = _vectors(WordShape(name="shape")(words), shapes, SHAPE_EMBEDDING, "shape")
        features = keras_gates.JoinSteps(name="with_shape")([features, shape])
    return _tagger(words, features, tags, options)


def with_crf(network):
    """The network from strings to the chain of a CRF, (batch, time, tags, tags), instead of to logits."""
    return keras.Model(network.input, keras_gates.CRF(name="crf")(network.output), name=network.name)


def with_auxiliary(network, tags):
    """The network that is trained when it learns other tags of the same words beside its own.

    Its inputs are the strings and the numbers of the other tags, (batch, time). Its output is that of the
    network. The cross-entropy of the other tags, which a dense layer of their own finds from the same
    recurrent states, is added to the loss (Caruana 1997, Multitask learning).

    tags: how many other tags there are.
    """
    features = network.get_layer("logits").input
    logits = keras.layers.Dense(tags, name="auxiliary_logits")(features)
    targets = keras.Input((None,), dtype="int32", name="auxiliary")
    output = AddCrossEntropy(AUXILIARY_WEIGHT, name="add_auxiliary")([network.output, logits, targets])
    return keras.Model([network.input, targets], output, name=network.name)


class AddCrossEntropy(keras.layers.Layer):
    """Adds the mean cross-entropy of logits to the loss, and passes another output on as it is.

    Args:
        weight: of the cross-entropy in the loss.

    Call arguments:
        inputs: the other output; logits (batch, time, labels), whose mask tells which steps count; and the
            targets (batch, time), whole numbers.
    """

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs, mask=None):
        output, logits, targets = inputs
        losses = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        counted = ops.cast(mask[1], losses.dtype)
        self.add_loss(self.weight * ops.sum(losses * counted) / ops.maximum(ops.sum(counted), 1))
        return output

    def compute_mask(self, inputs, mask=None):
        return mask[0]

    def compute_output_shape(self, shapes):
        return shapes[0]


def answers(network, spans=None):
    """The best tag of each element, (batch, time), and the probabilities of all, (batch, time, tags).

    spans: the names of the tags, if those of a network with a CRF must form well-formed spans.
    """
    output = network.output
    if _is_chain(output):
        best = keras_gates.CRFDecoder(spans, name="best_tags")(output)
        return best, keras_gates.CRFMarginals(name="probabilities")(output)
    return ops.argmax(output, axis=-1), keras.layers.Activation("softmax", name="probabilities")(output)


def serving(network, tags, spans=None):
    """The model from raw strings to the names of their tags, and to the probabilities of all tags.

    It returns `tags` (batch, time), "" for padding, and `probabilities` (batch, time, tags) in the order of
    the argument `tags`. `spans` is that of `answers`.
    """
    best, probabilities = answers(network, spans)
    named = best if _is_chain(network.output) else network.output  # argmax passes no mask on
    answer = {"tags": TagNames(tags, name="tags")(named), "probabilities": probabilities}
    return keras.Model(network.input, answer, name=network.name)


def _is_chain(output):
    return len(output.shape) == 4


def _tagger(strings, features, tags, options):
    features = models.recurrent_stack(features, options, residual=options.residual)
    features = keras.layers.Dropout(options.dropout)(features)
    return keras.Model(strings, keras.layers.Dense(tags, name="logits")(features), name="tagger")


def _vectors(strings, vocabulary, width, name, kind=keras.layers.Embedding):
    """Strings (batch, time) -> a vector for each, (batch, time, width), masked where they are padding."""
    vectors = kind(len(vocabulary) + 2, width, mask_zero=True, name=f"{name}_vectors")
    return vectors(_ids(strings, vocabulary, name))


def _ids(strings, vocabulary, name):
    return _lookup(vocabulary, name)(strings)


def _lookup(vocabulary, name):
    return keras.layers.StringLookup(vocabulary=vocabulary, mask_token=PADDING, name=f"{name}s")


def _dropped(features, options, name):
    """Drops whole vectors, so that the network learns to tag words that it has never seen."""
    return keras.layers.Dropout(options.word_dropout, noise_shape=(None, None, 1), name=name)(features)


def _known(words, known, options):
    """Words (batch, time) -> what a trained layer makes of vectors that are not, zero where there is none.

    A word has the vector of its lower case where it has none as it is written: many files have lower case
    alone. They are dropped apart from the trained ones: a word that training lacks has the known one alone.
    """
    table = np.stack(list(known.values()))
    table = np.concatenate([np.zeros((2, table.shape[1])), table])  # of padding and of what is unknown
    vectors = keras.layers.Embedding(*table.shape, mask_zero=True, trainable=False, name="known_vectors")
    find = _lookup(list(known), "known_word")
    found = find(words)
    in_lower_case = find(LowerCase(name="known_lower_case")(words))
    features = vectors(ops.where(ops.equal(found, UNKNOWN), in_lower_case, found))
    vectors.set_weights([table])
    features = keras.layers.Dense(table.shape[1], name="from_known")(features)
    return _dropped(features, options, "known_dropout")


def _characters(texts, alphabet, width, kind=keras.layers.Embedding):
    """Texts (batch,) -> a vector for each character (batch, time, width), masked beyond their ends."""
    ids = keras.layers.TextVectorization(
        standardize=None, split="character", vocabulary=alphabet, name="characters"
    )(texts)
    vectors = kind(len(alphabet) + 2, width, mask_zero=True, name="character_vectors")
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
