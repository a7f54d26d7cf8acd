"""The network that looks at pictures and reads questions about them."""

import keras
from keras import ops

from experiments.common import pictures
from experiments.common.recurrent import recurrent_stack
from experiments.questions import TASK
from keras_gates.layers.text import AtLeastOneStep, TagNames

FUSIONS = {"product": keras.layers.Multiply, "concat": keras.layers.Concatenate}


class Network:
    """A convolutional net over the picture and a recurrent one over the question, fused to one answer.

    vocabulary, answers: how many words and answers there are.
    options: `inputs` says what it is given, "both", "question" or "picture"; `fusion` how two become one.
    """

    def __init__(self, vocabulary, answers, options):
        self.given, self.frozen = options.inputs, options.frozen
        self.encoder = pictures.encoder(options)
        self.looking = _looking(self.encoder.output_shape[1:], options)
        self.reading = _reading(vocabulary, options)
        vectors = [keras.Input((options.units,)) for _ in range(2 if self.given == "both" else 1)]
        fused = FUSIONS[options.fusion]()(vectors) if len(vectors) > 1 else vectors[0]
        hidden = keras.layers.Dense(options.hidden, activation="relu")(fused)
        logits = keras.layers.Dense(answers)(keras.layers.Dropout(options.dropout)(hidden))
        self.answering = keras.Model(vectors, logits, name="answering")

    def training(self):
        """From pictures, word ids (questions, time) and the picture of each question, to logits.

        Every picture is looked at once, however many questions there are about it. With a frozen encoder the
        model takes the features of pictures, as `encoder` gives them, instead of pictures.
        """
        if self.frozen:
            seen = keras.Input(self.encoder.output_shape[1:], name="features")
            features = seen
        else:
            seen = keras.Input((None, None, 3), dtype="uint8", name="pictures")
            features = self.encoder(seen)
        ids = keras.Input((None,), dtype="int32", name="ids")
        about = keras.Input((), dtype="int32", name="about")
        logits = self._logits(lambda: ops.take(self.looking(features), about, axis=0), ids)
        return keras.Model([seen, ids, about], logits, name=TASK)

    def serving(self, vectorizer, names):
        """From pictures and as many raw questions to answers (batch,) and probabilities (batch, answers)."""
        seen = keras.Input((None, None, 3), dtype="uint8", name="pictures")
        questions = keras.Input((), dtype="string", name="questions")
        ids = AtLeastOneStep(name="at_least_one_step")(vectorizer(questions))
        logits = self._logits(lambda: self.looking(self.encoder(seen)), ids)
        answer = {
            "answers": TagNames(names, name="answers")(logits),
            "probabilities": keras.layers.Softmax(name="probabilities")(logits),
        }
        return keras.Model([seen, questions], answer, name=TASK)

    def _logits(self, look, ids):
        vectors = [look()] if self.given != "question" else []
        if self.given != "picture":
            vectors.append(self.reading(ids))
        return self.answering(vectors)


def _looking(shape, options):
    """Features (pictures, L, D) -> vectors (pictures, units) of the strongest, wherever they are."""
    features = keras.Input(shape)
    strongest = keras.layers.GlobalMaxPooling1D()(features)
    return keras.Model(
        features, keras.layers.Dense(options.units, activation="tanh")(strongest), name="looking"
    )


def _reading(vocabulary, options):
    """Word ids (questions, time), 0 for padding -> vectors (questions, units)."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    vectors = keras.layers.Embedding(vocabulary, options.embedding, mask_zero=True)(ids)
    read = recurrent_stack(vectors, options, return_sequences=False)
    return keras.Model(ids, keras.layers.Dense(options.units, activation="tanh")(read), name="reading")
