"""The network from tokens to what comes next, in its two forms: one carries its state, one is saved."""

import keras

import keras_gates
from experiments.common.cells import plain_name
from experiments.common.errors import InputError
from experiments.language import TASK


class Network:
    """Layers that tell from each token what the next one may be.

    size: how many tokens there are.
    options: of the command line.
    """

    def __init__(self, size, options):
        if options.tied and not options.embedding:
            raise InputError("--tied shares the vectors of the tokens, which --embedding 0 does without.")
        self.size, self.options = size, options
        self.embedding = _embedding(size, options)
        cell = keras_gates.cell_classes()[options.cell]
        self.cells = [
            cell(options.units, **_initializers(options, "kernel", "recurrent"))
            for _ in range(options.layers)
        ]
        self.to_embedding = keras.layers.Dense(options.embedding or 1, name="to_embedding")
        self.logits = keras.layers.Dense(size, **_initializers(options, "kernel"), name="logits")

    def carrying(self, rows):
        """The model from ids (rows, time) to logits (rows, time, tokens) that starts where it stopped."""
        ids = keras.Input(batch_shape=(rows, None), dtype="int32", name="ids")
        return keras.Model(ids, self._logits(ids, stateful=True), name=TASK)

    def last_layer(self, model):
        """The last recurrent layer of a model of this network."""
        return model.get_layer(self._name(len(self.cells)))

    def serving(self, vectorizer):
        """The model from texts (batch,) to the probabilities of the next token, (batch, time, tokens)."""
        texts = keras.Input((), dtype="string", name="texts")
        logits = self._logits(vectorizer(texts), stateful=False)
        return keras.Model(texts, keras.layers.Activation("softmax", name="probabilities")(logits), name=TASK)

    def _logits(self, ids, stateful):
        features = self._vectors(ids)
        for level, cell in enumerate(self.cells, 1):
            features = keras.layers.Dropout(self.options.dropout)(features)
            name = self._name(level)
            layer = keras_gates.RNN(cell, return_sequences=True, stateful=stateful, name=name)
            features = layer(features)
        features = keras.layers.Dropout(self.options.dropout)(features)
        if not self.options.tied:
            return self.logits(features)
        return self.embedding(self.to_embedding(features), reverse=True)

    def _name(self, level):
        return f"{plain_name(self.options.cell)}_{level}"

    def _vectors(self, ids):
        return self.embedding(ids) if self.options.embedding else keras.ops.one_hot(ids, self.size)


def _embedding(size, options):
    """The layer of the tokens' vectors; None for one-hot vectors, which need no layer."""
    if not options.embedding:
        return None
    kind = keras.layers.ReversibleEmbedding if options.tied else keras.layers.Embedding
    return kind(size, options.embedding, mask_zero=True, name="embedding")


def _initializers(options, *weights):
    """Arguments that set how weights begin: nothing, or normal with `options.initial_deviation`."""
    if options.initial_deviation is None:
        return {}
    return {
        f"{weight}_initializer": keras.initializers.RandomNormal(stddev=options.initial_deviation)
        for weight in weights
    }


def reset_states(model):
    """Return the states that a model carries to those at the start of a text."""
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
