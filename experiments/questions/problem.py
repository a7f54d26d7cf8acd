"""The task made ready for training: pictures with their questions as batches, the network, its measures."""

import collections

import keras
import numpy as np
import tensorflow as tf

from experiments.common import pictures, training, words
from experiments.common.batches import Batches, pad
from experiments.common.errors import InputError
from experiments.common.metrics import classification
from experiments.questions import data
from experiments.questions.network import Network
from keras_gates.layers.text import standardize_words

EVALUATION_BATCH = 64
TRACED = 3  # test questions that --trace shows


def prepare(options):
    """Pictures and questions of the corpus that `options.dataset` names, as batches, and the network."""
    corpus = data.load(options.dataset, pictures.size_of(options.size), options.limit)
    if options.trace and not corpus.test.files:
        raise InputError(f"--trace needs pictures in files; those of --dataset {options.dataset} are not.")
    vectorizer = vectorizer_of(corpus.train.questions, options.vocabulary)
    names = corpus.names
    network = Network(vectorizer.vocabulary_size(), len(names), options)
    sizes = {"train": options.batch_size, "validation": EVALUATION_BATCH, "test": EVALUATION_BATCH}
    batches = {}
    for name, part in corpus.parts().items():
        seen = pictures.features_of(network.encoder, part.pictures) if options.frozen else part.pictures
        batches[name] = QuestionBatches(part, seen, vectorizer, names, sizes[name], options.seed)
    return training.Problem(
        train=batches["train"],
        validation=batches["validation"],
        model=network.training(),
        serving=lambda _: network.serving(vectorizer, names),
        test=lambda model: measure(model, batches["test"], corpus),
        labels=names,
        facts={
            "data": corpus.fingerprint(),
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            "pictures": {name: len(part.pictures) for name, part in corpus.parts().items()},
            "words": sorted(vectorizer.get_vocabulary(include_special_tokens=False)),
        },
        texts=tuple(traced(corpus.test)),
        use="predict RUN picture.png 'a question?'",
        main_measure=training.ACCURACY,
    )


def vectorizer_of(questions, vocabulary):
    """A `TextVectorization` that knows the words of questions, with or without a question mark."""
    layer = keras.layers.TextVectorization(max_tokens=vocabulary, standardize=standardize_words, name="words")
    layer.adapt(tf.data.Dataset.from_tensor_slices(questions).batch(words.BATCH))
    return layer


def traced(part):
    """The first question about some pictures, as `experiments.questions.reading` takes them."""
    for file, asked in list(zip(part.files, part.of_each_picture(), strict=False))[:TRACED]:
        yield f"{file}: {part.questions[asked[0]]}"


class QuestionBatches(Batches):
    """Batches of pictures, each with all questions about it.

    seen: the pictures of the part, or their features.

    A batch holds what is seen, the word ids of the questions, the picture of each question by its place in
    the batch, and the answers as numbers.
    """

    def __init__(self, part, seen, vectorizer, names, batch_size, seed):
        self.asked = part.of_each_picture()
        ids = words.numbers(vectorizer, part.questions, None)
        number = {name: at for at, name in enumerate(names)}
        answers = np.array([number[answer] for answer in part.answers], "int32")

        def collate(indices):
            chosen = np.concatenate([self.asked[index] for index in indices])
            about = np.repeat(np.arange(len(indices), dtype="int32"), [len(self.asked[i]) for i in indices])
            return (seen[indices], pad([ids[at] for at in chosen]), about), answers[chosen]

        numbers = tf.TensorSpec((None,), tf.int32)
        first = tf.TensorSpec((None, *seen.shape[1:]), seen.dtype)
        signature = (first, tf.TensorSpec((None, None), tf.int32), numbers), numbers
        super().__init__([len(asked) for asked in self.asked], collate, signature, batch_size, seed)

    @property
    def question_order(self):
        """The order in which `once` gives the questions."""
        return np.concatenate([self.asked[index] for index in self.order])


def measure(model, batches, corpus):
    """Accuracy in all, and apart for questions answered by yes or no and for others; the confusion matrix.

    Beside them stands what the question alone tells: the answer most frequent in training to the same words.
    """
    order = batches.question_order
    names = corpus.names
    true = np.array([names.index(corpus.test.answers[at]) for at in order])
    logits = model.predict(batches.once(), verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(true, logits, from_logits=True)
    found = classification(true, logits.argmax(axis=-1), names)
    blind = np.array([names.index(answer) for answer in without_looking(corpus)])[order]
    measures = {
        **accuracies("test", true, logits.argmax(axis=-1), names),
        "test_loss": float(np.mean(loss)),
        "test_f1": found.f1,
        **accuracies("question_alone", true, blind, names),
    }
    return measures, found.confusion


def accuracies(what, true, answered, names):
    """The share of right answers in all, and of each kind of question that there is."""
    right = true == answered
    yes_no = np.isin(np.array(names)[true], data.YES_NO)
    kinds = {"accuracy": np.full(len(true), True), "yes_no_accuracy": yes_no, "other_accuracy": ~yes_no}
    return {f"{what}_{kind}": float(right[those].mean()) for kind, those in kinds.items() if those.any()}


def without_looking(corpus):
    """For each test question the most frequent answer to it in training, or to any where it is new."""
    answers = collections.Counter(corpus.train.answers)
    of_question = collections.defaultdict(collections.Counter)
    for question, answer in zip(corpus.train.questions, corpus.train.answers, strict=True):
        of_question[question][answer] += 1
    return [of_question.get(question, answers).most_common(1)[0][0] for question in corpus.test.questions]
