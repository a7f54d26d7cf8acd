"""The task made ready for training: pairs of texts as batches of numbers, and the encoder–decoder."""

import keras
import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common import training
from experiments.common.batches import Batches, pad
from experiments.common.errors import InputError
from experiments.translation import alignment, data, measures
from experiments.translation.network import Network
from experiments.translation.tokens import SOURCE_LAYER, START, STOP, Side
from experiments.translation.translator import Translator

EVALUATION_BATCH = 256
WRONG_WORDS = training.MainMeasure("test_word_error_rate", "lower")
BLEU = training.MainMeasure("test_bleu", "higher")
TRACED = 3  # test texts whose alignments are drawn


def prepare(options):
    """The pairs that `options.dataset` names as batches of numbers, and the network that translates."""
    corpus = data.read(options)
    source, target = sides(corpus.train, options)
    parts = {name: numbered(corpus.parts()[name], source, target) for name in ("train", "validation")}
    train, validation = (
        [pair for pair in part if max(map(len, pair)) <= options.longest] for part in parts.values()
    )
    if not train or not validation:
        raise InputError(
            f"--longest {options.longest} leaves no pair of {options.dataset} to train or to validate on."
        )
    network = Network(len(source.names), len(target.names), options)
    longest = max(len(said) for _, said in train)
    translator = Translator(network.on_texts(source.layer), source, target, longest)
    test = Test(translator, corpus.test, options)
    return training.Problem(
        train=PairBatches(train, options.batch_size, target, options.seed),
        validation=PairBatches(validation, EVALUATION_BATCH, target),
        model=network.on_numbers(),
        serving=lambda model: translator.model,
        test=test.measure,
        labels=tuple(target.names),
        facts={
            "data": corpus.fingerprint(),
            "split": corpus.split,
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            "pairs": {"train": len(train), "left out": len(parts["train"]) - len(train)},
            "longest": longest,
        },
        texts=tuple(pair.source for pair in corpus.test[:TRACED]),
        files=test.files,
        use="predict RUN < texts.txt",
        main_measure=WRONG_WORDS if options.dataset == "cmudict" else BLEU,
        notes=(f"Split: {corpus.split}.",),
        write={
            "over": "said",
            "start": START,
            "stop": STOP,
            "how": keras_gates.Beam(options.beam, options.length_penalty),
            "vocabulary": target.layer,
        },
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
    )


def sides(pairs, options):
    """The `Side` of the texts and that of their translations."""
    source = Side.of_texts(
        [pair.source for pair in pairs],
        options.source_tokens,
        options.lower != "none",
        options.least_count,
        name=SOURCE_LAYER,
    )
    target = Side.of_texts(
        [text for pair in pairs for text in pair.references],
        options.target_tokens,
        options.lower == "both",
        options.least_count,
        reserved=(START, STOP),
    )
    return source, target


def numbered(pairs, source, target):
    """Every text with each of its translations, as two arrays of numbers; the latter ends with `STOP`."""
    stop = target.names.index(STOP)
    texts = source.numbers([pair.source for pair in pairs for _ in pair.references])
    said = target.numbers([text for pair in pairs for text in pair.references])
    return [(one, np.append(other, np.int32(stop))) for one, other in zip(texts, said, strict=True)]


class PairBatches(Batches):
    """Pairs of numbers as batches (inputs, targets, weights), bucketed by both lengths."""

    def __init__(self, pairs, batch_size, target, seed=0):
        self.pairs, self.start = pairs, target.names.index(START)
        inputs = {name: tf.TensorSpec((None, None), tf.int32) for name in ("source", "said")}
        said = tf.TensorSpec((None, None), tf.int32)
        weights = tf.TensorSpec((None, None), tf.float32)
        # in the order of the translation's length first: the decoder takes more time than the encoder
        longest = max(len(source) for source, _ in pairs)
        lengths = [len(said) * (longest + 1) + len(source) for source, said in pairs]
        super().__init__(lengths, self._collated, (inputs, said, weights), batch_size, seed)

    def _collated(self, indices):
        sources, texts = zip(*(self.pairs[at] for at in indices), strict=True)
        heard, said, weights = keras_gates.writing.teacher_forcing(texts, self.start)
        return {"source": pad(sources), "said": heard}, said, weights


class Test:
    """The test part, translated once when the network is trained."""

    def __init__(self, translator, pairs, options):
        self.translator, self.pairs, self.options = translator, pairs, options

    def measure(self, model):
        """The measures by name, and no confusion matrix: there are no labels."""
        texts = [pair.source for pair in self.pairs]
        found = self.translator.translate(texts, self.options.beam, self.options.length_penalty)
        self.best = [best for best, *_ in found]
        written = [best.text for best in self.best]
        if self.options.dataset == "cmudict":
            return measures.error_rates(written, self.pairs), None
        return measures.bleu(written, self.pairs, self.options.lower == "both"), None

    def files(self, model):
        """The translations of the test part, and the alignments of some of them."""
        files = {"translations.tsv": self._save}
        some = [best for best in self.best if best.alignment is not None and best.pieces][:TRACED]
        if some:
            files["alignments.png"] = lambda path: alignment.draw(some, path)
        return files

    def _save(self, path):
        rows = [["text", "translation", "references"]]
        for pair, best in zip(self.pairs, self.best, strict=True):
            rows.append([text.replace("\t", " ") for text in (pair.source, best.text, *pair.references)])
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
