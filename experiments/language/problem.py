"""The task made ready for training: a text as streams of tokens, and the network that reads them."""

import keras
import numpy as np

import keras_gates
from experiments.common import training
from experiments.common.errors import InputError
from experiments.language import data, tokens
from experiments.language.measures import measure, tuned_cache
from experiments.language.network import Network, reset_states
from experiments.language.samples import Samples, save_samples
from experiments.language.streams import Streams

EPOCH = 1_000_000  # tokens; a longer text takes several epochs
VALIDATION = 200_000  # tokens of the validation part that are read after each epoch
TRACED = 3  # test texts that --trace shows, of so many characters
TRACED_LENGTH = 1000


def prepare(options):
    """The text that `options.dataset` names as streams of tokens, and the network that reads them."""
    corpus = data.read(options.dataset, options.split, options.limit)
    parts = {name: tokens.split(part, options.tokens) for name, part in corpus.parts().items()}
    for name, part in parts.items():
        if len(part) < 2:
            raise InputError(
                f"{options.dataset} is too short: its {name} part has {len(part)} {options.tokens}; "
                "at least 2 are needed."
            )
    vocabulary = tokens.vocabulary_of(parts["train"], options.least_count, options.vocabulary)
    train, validation, test = (tokens.numbers(part, vocabulary) for part in parts.values())
    widths = np.fromiter(map(len, parts["test"]), "int32", len(test))
    # a short text has fewer rows than --batch-size, each at least a chunk long
    rows = max(1, min(options.batch_size, (len(train) - 1) // options.steps, len(validation) - 1))
    network = Network(len(tokens.names(vocabulary)), options)
    model = network.carrying(rows)
    serving = network.serving(tokens.vectorizer(vocabulary, options.tokens))
    start = parts["train"][0]
    return training.Problem(
        train=Streams(train, rows, options.steps, epochs_per_pass=max(1, round(len(train) / EPOCH))),
        validation=Streams(
            validation, rows, options.steps, most=max(1, VALIDATION // (rows * options.steps))
        ),
        model=model,
        serving=lambda model: serving,
        test=lambda model: (measured(network, validation, test, widths, options.cache), None),
        labels=tokens.names(vocabulary),
        facts={
            "data": corpus.fingerprint(),
            "split": corpus.split,
            "examples": {name: len(part) for name, part in parts.items()},
        },
        texts=tuple(_excerpts(corpus.test)),
        optimizer=optimizer,
        callbacks=(CarriedState(), Samples(serving, start, options.seed)),
        files=lambda model: {"samples.txt": lambda path: save_samples(serving, start, options.seed, path)},
        use="write RUN 'how it begins'",
        main_measure=training.MainMeasure("test_bits_per_character", "lower"),
        write={"how": keras_gates.Sampling(), "head": tokens.HEAD},
    )


def measured(network, validation, test, widths, size):
    """The measures of the test text; with a cache of that size too, if it is not 0."""
    cache = tuned_cache(network, validation[:VALIDATION], size) if size else None
    return measure(network, test, widths, cache)


def optimizer(rate, options):
    """Adam or Adagrad, with the clipping that the options ask for.

    `options.clip_each` bounds the gradient of the loss that is summed over the steps of a chunk. The loss
    here is the mean over them, so the bound is divided by their number, and the 1e-8 inside Adagrad's root by
    its square: then its steps are those for the sum.
    """
    if options.clip_each is None:
        clipping = {"clipnorm": options.clip}
    else:
        clipping = {"clipvalue": options.clip_each / options.steps}
    if options.optimizer == "adam":
        return keras.optimizers.Adam(rate, **clipping)
    return keras.optimizers.Adagrad(
        rate, initial_accumulator_value=0.0, epsilon=1e-8 / options.steps**2, **clipping
    )


class CarriedState(keras.callbacks.Callback):
    """Carries the states of a stateful network from batch to batch, but not into another epoch or part."""

    def on_epoch_begin(self, epoch, logs=None):
        reset_states(self.model)

    def on_test_begin(self, logs=None):
        reset_states(self.model)


def _excerpts(text):
    """Some pieces of a text, at even distances."""
    for number in range(TRACED):
        start = number * len(text) // TRACED
        if excerpt := text[start : start + TRACED_LENGTH].strip():
            yield excerpt
