"""The task made ready for training: a corpus as batches of strings, and the network that reads them."""

import argparse
import collections
import pathlib

import keras
import numpy as np

import keras_gates
from experiments.common import starting, strength, training, vectors
from experiments.common.errors import InputError
from experiments.tagging import data
from experiments.tagging.measures import are_spans, are_well_formed, measure, span_f1
from experiments.tagging.network import (
    answers,
    serving,
    text_network,
    vectors_of,
    with_auxiliary,
    with_crf,
    word_network,
)
from experiments.tagging.pieces import EVALUATION_BATCH, TagBatches, pieces, windows
from keras_gates.layers.text import LowerCase, WordShape

TRACED = 3  # test texts that --trace shows
# Characters, words and shapes seen less often in training share one vector.
RARE_CHARACTER, RARE_WORD, RARE_SHAPE = 20, 2, 20
EPOCHS_PER_PASS = 8  # of the Python tagger, whose corpus is large
VALIDATION_WINDOWS = 512
MOST_KNOWN = 200_000  # vectors of a file, which are held in memory and saved with the model


def prepare(options, given):
    """The corpus as batches of strings, and the network that reads them.

    given: the names of the options that the user gave.
    """
    corpus = data.read(options)
    is_python = data.is_python(options.dataset)
    reads = "characters" if is_python else "words"
    if is_python and options.beside_vectors:
        raise InputError("--dataset python has no words; leave out --beside-vectors.")
    start = starting.start_of(options, given, reads)
    network, parts = (_read_text if is_python else _read_words)(corpus, options, start)
    train, validation, test = parts
    auxiliary = _auxiliary(options, corpus)
    mark_spans = are_spans(corpus.names)
    spans = corpus.names if mark_spans and are_well_formed(train, corpus.names) else None
    if crf := mark_spans if options.crf is None else options.crf:
        network = with_crf(network)
    asked = keras.Model(network.input, answers(network, spans))  # has the weights of the network
    epochs_per_pass = EPOCHS_PER_PASS if is_python else 1
    trained = with_auxiliary(network, len(auxiliary.names)) if auxiliary else network
    batches = TagBatches(
        train, options.batch_size, options.seed, epochs_per_pass, auxiliary and _tags(auxiliary.train)
    )
    return training.Problem(
        train=batches,
        validation=TagBatches(
            validation, EVALUATION_BATCH, auxiliary=auxiliary and _tags(auxiliary.validation)
        ),
        model=strength.regularised(trained, vectors_of(network), batches, options),
        optimizer=start.optimizer(len(batches)),
        loss=strength.cross_entropy(options, keras_gates.CRFLoss() if crf else None),
        metrics=(keras_gates.CRFAccuracy(),) if crf else None,
        score=(lambda _: span_f1(asked, validation, corpus.names)) if mark_spans else None,
        serving=lambda _: serving(strength.plain(network), corpus.names, spans),
        test=lambda _: measure(asked, test, corpus),
        labels=corpus.names,
        facts={
            "data": corpus.fingerprint(),
            "reads": reads,
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            "elements": {name: sum(len(tags) for _, tags in part) for name, part in corpus.parts().items()},
            **start.facts,
        },
        notes=(*start.notes, *_note_of_known(options.beside_vectors)),
        metadata=start.metadata,
        texts=tuple(as_text(elements) for elements, _ in corpus.test[:TRACED]),
        use="predict RUN FILE",
        main_measure=training.ACCURACY,
    )


def as_text(elements):
    """The text that a sequence was read from, or its words with a space between them."""
    return elements if isinstance(elements, str) else " ".join(elements)


def _read_text(corpus, options, start):
    """The network that reads characters, and what the three parts of the corpus are for it."""
    alphabet = frequent((text for text, _ in corpus.train), RARE_CHARACTER)
    train = windows(corpus.train, options.window)
    validation = windows(corpus.validation, options.window)
    some = np.linspace(0, len(validation) - 1, min(VALIDATION_WINDOWS, len(validation))).astype(int)
    test = [piece for sequence in corpus.test for piece in pieces(sequence)]
    network = text_network(alphabet, len(corpus.names), options)
    start.fill(network, "character_vectors", alphabet)
    return network, (train, [validation[at] for at in some], test)


def _read_words(corpus, options, start):
    """The network that reads words, and what the three parts of the corpus are for it."""
    words = [word for words, _ in corpus.train for word in words]
    alphabet = frequent(words, RARE_WORD) if options.characters else None
    shapes = None
    if are_spans(corpus.names) if options.lower_case is None else options.lower_case:
        shapes = frequent([_strings(WordShape(), words)], RARE_SHAPE)
        words = _strings(LowerCase(), words)
    vocabulary = frequent([words], RARE_WORD)
    known = known_vectors(options.beside_vectors) if options.beside_vectors else None
    network = word_network(vocabulary, alphabet, len(corpus.names), options, shapes, known)
    start.fill(network, "form_vectors", vocabulary)
    return network, (corpus.train, corpus.validation, corpus.test)


def _note_of_known(path):
    if not path:
        return ()
    name = pathlib.Path(path).name
    return (f"It also reads the vectors of words in {name}; what is unfair there may be unfair here.",)


def known_vectors(path):
    """Vectors of words that are not trained, by word. Raises `InputError` if the file has none."""
    known = vectors.read_first(path, MOST_KNOWN)
    if not known:
        raise InputError(f"{path} has no vectors of words.")
    print(f"{path} has the vectors of {len(known):,} words, which stay as they are.", flush=True)
    return known


def _auxiliary(options, corpus):
    """The same corpus with the tags of the column --auxiliary; None without that option."""
    if options.auxiliary is None:
        return None
    if data.is_python(options.dataset):
        raise InputError("--dataset python has no columns; leave out --auxiliary.")
    if options.devices > 1:
        raise InputError("--auxiliary trains on one device; leave out --devices.")
    found = data.read(argparse.Namespace(**{**vars(options), "column": options.auxiliary}))
    if found.fingerprint() == corpus.fingerprint():
        raise InputError(f"--auxiliary {options.auxiliary} is the column of the tags; expected another.")
    return found


def _tags(sequences):
    return [tags for _, tags in sequences]


def _strings(layer, words):
    return [word.decode() for word in layer(np.array(words, object)).numpy()]


def frequent(sequences, least):
    """The elements that occur at least so often, in order; all of them where none does."""
    counts = collections.Counter()
    for sequence in sequences:
        counts.update(sequence)
    return sorted(element for element, count in counts.items() if count >= least) or sorted(counts)
