"""The encoder–decoder: in training from numbers, in the saved model from raw texts."""

import keras
from keras import ops

import keras_gates
from experiments.common.errors import InputError
from experiments.translation import TASK
from keras_gates.attention import ATTENTIONS
from keras_gates.layers.text import AtLeastOneStep

# How the decoder learns what the encoder read: "none" by the states that it begins with alone, "context" by
# the last state at every step (Cho et al. 2014), and the others by attention with scores of that kind.
MEANS = ("none", "context", *ATTENTIONS)


class Network:
    """Layers that tell, from a text and the beginning of its translation, what comes next.

    source_size, target_size: how many words or characters there are on either side.
    options: of the command line.
    """

    def __init__(self, source_size, target_size, options):
        if options.hard and options.attention not in ATTENTIONS:
            raise InputError(
                f"--hard is for an attention, {', '.join(ATTENTIONS)}; got --attention {options.attention}."
            )
        self.options = options
        width = options.embedding
        self.source_vectors = keras.layers.Embedding(
            source_size, width, mask_zero=True, name="source_vectors"
        )
        self.target_vectors = keras.layers.Embedding(target_size, width, name="target_vectors")
        self.encoders = [self._encoder(level) for level in range(1, options.layers + 1)]
        self.decoders = [self._decoder(level) for level in range(1, options.layers + 1)]
        self.logits = keras.layers.Dense(target_size, name="logits")

    def on_numbers(self):
        """From numbers `source` (batch, positions) and `said` (batch, time) to logits (batch, time, size)."""
        source = keras.Input((None,), dtype="int32", name="source")
        return self._model(source, source)

    def on_texts(self, vectorizer):
        """From texts `source` (batch,) and numbers `said` (batch, time) to logits (batch, time, size)."""
        source = keras.Input((), dtype="string", name="source")
        return self._model(source, AtLeastOneStep()(vectorizer(source)))

    def _model(self, source, numbers):
        said = keras.Input((None,), dtype="int32", name="said")
        memory, states = self._encoded(numbers)
        return keras.Model([source, said], self._decoded(said, memory, states), name=TASK)

    def _encoded(self, numbers):
        """The outputs of the last encoder, and the last states of each."""
        features, states = self.source_vectors(numbers), []
        for encoder in self.encoders:
            features, *last = encoder(self._dropped(features))
            if self.options.bidirectional:
                # states of any cell can be averaged: a gate's range or a sign is kept
                half = len(last) // 2
                last = [
                    keras.layers.Average()([forth, back])
                    for forth, back in zip(last[:half], last[half:], strict=True)
                ]
            states.append(last)
        return features, states

    def _decoded(self, said, memory, states):
        features = self.target_vectors(said)
        context = states[-1][0]
        if self.options.attention == "context":
            features = keras_gates.JoinSteps()([features, context])
        for decoder, initial in zip(self.decoders, states, strict=True):
            features = self._dropped(features)
            if isinstance(decoder, keras_gates.AttentionRNN):
                # a state of the attention's own, if there is one, begins with zeros
                added = [ops.zeros_like(initial[0]) for _ in decoder.cell.states[len(initial) :]]
                features = decoder(features, memory=memory, initial_state=[*initial, *added])
            else:
                features = decoder(features, initial_state=initial)
        if self.options.attention == "context":
            features = keras_gates.JoinSteps()([features, context])
        return self.logits(self._dropped(features))

    def _dropped(self, features):
        return keras.layers.Dropout(self.options.dropout)(features)

    def _cell(self):
        return keras_gates.cell_classes()[self.options.cell](self.options.units)

    def _encoder(self, level):
        layer = keras_gates.RNN(
            self._cell(), return_sequences=True, return_state=True, name=f"encoder_{level}"
        )
        if not self.options.bidirectional:
            return layer
        # the scores of "dot" multiply what the encoder says with what the decoder says: of one width
        merge = "sum" if self.options.attention == "dot" else "concat"
        return keras.layers.Bidirectional(layer, merge_mode=merge, name=f"encoder_{level}")

    def _decoder(self, level):
        """The last decoder attends, if any does."""
        name, score = f"decoder_{level}", self.options.attention
        if level < self.options.layers or score not in ATTENTIONS:
            return keras_gates.RNN(self._cell(), return_sequences=True, name=name)
        attention = ATTENTIONS[score](hard=self.options.hard)
        if score == "additive":
            cell = keras_gates.BahdanauCell(self._cell(), attention, output_seen=True)
        else:
            cell = keras_gates.LuongCell(self._cell(), attention)
        return keras_gates.AttentionRNN(cell, return_sequences=True, name=name)
