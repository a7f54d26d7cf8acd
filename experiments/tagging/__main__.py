"""A tag for every element of a sequence, many-to-many: `python -m experiments.tagging [train|predict] …`."""

import argparse
import collections
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import seqeval.metrics
import tensorflow as tf

from experiments.common import highlight, report, training
from experiments.common.batches import Batches, pad
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, share, training_parser, whole
from experiments.tagging import network as taggers
from experiments.tagging.data import conll, python_source, treebanks
from experiments.tagging.data.tagged import Tagged

TASK = "tagging"
EVALUATION_BATCH = 64
TRACED = 3  # test texts that --trace shows
RARE_CHARACTER, RARE_WORD = 20, 2  # characters and words seen less often in training share one vector
NO_TAG = -1  # of padding, and of what is read only for context
EPOCHS_PER_PASS = 8  # of the Python tagger, whose corpus is large
VALIDATION_WINDOWS = 512
PIECE, CONTEXT = 2048, 256  # characters of a source text that are tagged at a time, and read beside them

# what --dataset changes in the defaults, by what the network reads
DEFAULTS = {
    "characters": {
        "units": 96,
        "embedding": 32,
        "dropout": 0.0,
        "epochs": EPOCHS_PER_PASS,
        "batch_size": 64,
        "learning_rate": 5e-3,
    },
    "words": {
        "units": 96,
        "embedding": 96,
        "dropout": 0.4,
        "epochs": 10,
        "batch_size": 32,
        "learning_rate": 4e-3,
    },
}


def prepare(options):
    """The corpus as batches of strings, and the network that reads them."""
    corpus = read(options)
    network, sequences = _read_text(corpus, options) if is_python(options) else _read_words(corpus, options)
    train, validation, test = sequences
    epochs_per_pass = EPOCHS_PER_PASS if is_python(options) else 1
    return training.Problem(
        train=TagBatches(train, options.batch_size, options.seed, epochs_per_pass),
        validation=TagBatches(validation, EVALUATION_BATCH),
        model=network,
        serving=lambda model: taggers.serving(model, corpus.names),
        test=lambda model: measure(model, test, corpus),
        labels=corpus.names,
        facts={
            "data": corpus.fingerprint(),
            "reads": "characters" if is_python(options) else "words",
            "examples": {name: len(part) for name, part in corpus.parts().items()},
            "elements": {name: sum(len(tags) for _, tags in part) for name, part in corpus.parts().items()},
        },
        texts=tuple(as_text(elements) for elements, _ in corpus.test[:TRACED]),
    )


def as_text(elements):
    """The text that a sequence was read from, or its words with a space between them."""
    return elements if isinstance(elements, str) else " ".join(elements)


def is_python(options):
    return options.dataset == "python"


def read(options):
    """The corpus that --dataset names."""
    dataset = options.dataset
    if is_python(options):
        if options.column is not None:
            raise InputError("--dataset python has no columns; leave out --column.")
        return python_source.read(options.limit)
    if dataset.split("/")[0] in treebanks.COLUMNS:
        return treebanks.read(dataset, options.column, options.limit)
    if not Path(dataset).is_dir():
        known = ", ".join(["python", "universal_dependencies/TREEBANK", "conll2003"])
        raise InputError(f"--dataset {dataset} is neither one of {known} nor a folder.")
    return conll.read_folder(dataset, options.column, options.limit)


def _read_text(corpus, options):
    alphabet = frequent((text for text, _ in corpus.train), RARE_CHARACTER)
    train = windows(corpus.train, options.window)
    validation = windows(corpus.validation, options.window)
    some = np.linspace(0, len(validation) - 1, min(VALIDATION_WINDOWS, len(validation))).astype(int)
    test = [piece for sequence in corpus.test for piece in pieces(sequence)]
    network = taggers.text_network(alphabet, len(corpus.names), options)
    return network, (train, [validation[at] for at in some], test)


def _read_words(corpus, options):
    vocabulary = frequent((words for words, _ in corpus.train), RARE_WORD)
    spelled = (word for words, _ in corpus.train for word in words)
    alphabet = frequent(spelled, RARE_WORD) if options.characters else None
    network = taggers.word_network(vocabulary, alphabet, len(corpus.names), options)
    return network, (corpus.train, corpus.validation, corpus.test)


def frequent(sequences, least):
    """The elements that occur at least so often, in order; all of them where none does."""
    counts = collections.Counter()
    for sequence in sequences:
        counts.update(sequence)
    return sorted(element for element, count in counts.items() if count >= least) or sorted(counts)


def windows(sequences, length):
    """Texts cut into windows of so many characters; the last of a text may be shorter."""
    return [
        Tagged(text[start : start + length], tags[start : start + length])
        for text, tags in sequences
        for start in range(0, len(text), length)
    ]


def pieces(sequence):
    """A text in pieces that overlap: each tags `PIECE` characters, and reads `CONTEXT` more on either side.

    What is there only to be read has the tag `NO_TAG`.
    """
    text, tags = sequence
    found = []
    for start in range(0, len(text), PIECE):
        first, last = max(start - CONTEXT, 0), start + PIECE + CONTEXT
        counted = np.array(tags[first:last], "int32")
        counted[: start - first] = NO_TAG
        counted[start - first + PIECE :] = NO_TAG
        found.append(Tagged(text[first:last], counted))
    return found


class TagBatches(Batches):
    """Tagged sequences as batches: texts (batch,) or words (batch, time), and tags (batch, time).

    Padding has the tag 0 and does not count: the network's mask says what it is.

    epochs_per_pass: in how many epochs `endless` goes through all sequences, so that a large corpus has
        something to show and to keep before it was read to its end.
    """

    def __init__(self, sequences, batch_size, seed=0, epochs_per_pass=1):
        is_text = isinstance(sequences[0].elements, str)

        def collate(indices):
            elements = [sequences[at].elements for at in indices]
            strings = np.array(elements, object) if is_text else pad(elements, taggers.PADDING, object)
            return strings, pad([sequences[at].tags for at in indices])

        signature = (
            tf.TensorSpec((None,) if is_text else (None, None), tf.string),
            tf.TensorSpec((None, None), tf.int32),
        )
        super().__init__([len(tags) for _, tags in sequences], collate, signature, batch_size, seed)
        self.epochs_per_pass = min(epochs_per_pass, super().__len__())

    def __len__(self):
        return super().__len__() // self.epochs_per_pass

    def epoch(self, number):
        number, part = divmod(number, self.epochs_per_pass)
        return super().epoch(number)[part * len(self) : (part + 1) * len(self)]


def tagged(network, sequences):
    """Every sequence with its logits, (len(sequence.tags), tags)."""
    batches = TagBatches(sequences, EVALUATION_BATCH)
    rows = (sequences[at] for at in batches.order)
    for strings, _ in batches.once():
        for logits in network.predict_on_batch(strings):
            sequence = next(rows)
            yield sequence, logits[: len(sequence.tags)]


def measure(network, test, corpus):
    """The measures of the test part, and the confusion matrix. What has no tag does not count."""
    elements, true, guessed, losses = [], [], [], []
    for sequence, logits in tagged(network, test):
        counted = np.flatnonzero(sequence.tags != NO_TAG)
        elements.append([sequence.elements[at] for at in counted])
        true.append(sequence.tags[counted])
        guessed.append(logits[counted].argmax(axis=-1))
        losses.append(cross_entropy(logits[counted], true[-1]))
    matrix = report.confusion_matrix(np.concatenate(true), np.concatenate(guessed), len(corpus.names))
    right = np.concatenate(true) == np.concatenate(guessed)
    measures = dict(
        test_accuracy=float(right.mean()),
        test_loss=float(np.concatenate(losses).mean()),
        test_f1=float(report.f1(matrix).mean()),
        **against_training(itertools.chain.from_iterable(elements), np.concatenate(true), right, corpus),
    )
    if are_spans(corpus.names):
        named = [[[corpus.names[tag] for tag in tags] for tags in part] for part in (true, guessed)]
        measures["test_span_f1"] = float(seqeval.metrics.f1_score(*named))
    return dict(measures, per_label=report.per_label(matrix, corpus.names)), matrix


def cross_entropy(logits, tags):
    """Of every tag (time,) by its logits (time, tags)."""
    highest = logits.max(axis=-1)
    total = np.log(np.exp(logits - highest[:, None]).sum(axis=-1))
    return highest + total - logits[np.arange(len(tags)), tags]


def against_training(elements, true, right, corpus):
    """What the training part alone would do, and what the network does with what is not in there.

    The baseline gives every element the tag it has most often in training, and one that is not in there the
    tag that is most often there.
    """
    counts = collections.defaultdict(lambda: np.zeros(len(corpus.names), int))
    for sequence in corpus.train:
        for element, tag in zip(*sequence, strict=True):
            counts[element][tag] += 1
    usual = {element: tags.argmax() for element, tags in counts.items()}
    otherwise = sum(counts.values()).argmax()
    known = [usual.get(element, NO_TAG) for element in elements]
    unseen = np.array(known) == NO_TAG
    baseline = np.where(unseen, otherwise, known)
    measures = {"baseline_accuracy": float((baseline == true).mean())}
    if unseen.any():
        measures.update(unseen=int(unseen.sum()), unseen_accuracy=float(right[unseen].mean()))
    return measures


def are_spans(names):
    """Whether tags mark spans: each is O, or tells where in a span it stands, as B-PER and I-PER do."""
    inside = [name for name in names if name != "O"]
    return bool(inside) and all(re.match(r"[BIES]-.", name) for name in inside)


# -- predict


def predict(parser, options):
    """Tag the text of the command line, of a file or of the standard input."""
    config, model = training.load_run(TASK, options.run)
    text, name = text_of(options.text)
    if not text.strip():
        raise InputError(f"{name} is empty.")
    code = config["reads"] == "characters"
    sentences = [runs(model, text)] if code else sentences_of(model, text)
    form = options.format or ("terminal" if sys.stdout.isatty() else "conll")
    sys.stdout.write(FORMATS[form](sentences, code, name))


FORMATS = {
    "terminal": lambda sentences, code, name: highlight.terminal(sentences, code),
    "conll": lambda sentences, code, name: highlight.conll(sentences, code),
    "json": lambda sentences, code, name: highlight.json_lines(sentences, code),
    "html": highlight.page,
}


def text_of(arguments):
    """The text of the arguments, of the file that they name, or of the standard input; and what it is."""
    if not arguments:
        return decoded(sys.stdin.buffer.read(), "The standard input"), "The standard input"
    path = Path(arguments[0])
    if len(arguments) == 1 and (path.is_file() or re.fullmatch(r"\S+\.[a-z]+", arguments[0])):
        return decoded(path.read_bytes(), path), str(path)
    return "\n".join(arguments), "The text"


def decoded(content, name):
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text (byte {error.start}).") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def runs(model, text):
    """The runs of characters that share a tag, as tokens."""
    whole = Tagged(text, np.zeros(len(text), "int32"))
    tags, probabilities = [], []
    for piece in pieces(whole):
        answer = model([piece.elements])
        counted = piece.tags != NO_TAG
        tags += answer["tags"].numpy()[0, counted].tolist()
        probabilities += answer["probabilities"].numpy()[0, counted].max(axis=-1).tolist()
    found, start = [], 0
    for tag, run in itertools.groupby(tags):
        end = start + len(list(run))
        found.append(highlight.Token(text[start:end], tag.decode(), float(np.mean(probabilities[start:end]))))
        start = end
    return found


def sentences_of(model, text):
    """The sentences, one a line of the text, as lists of tokens."""
    sentences = [words for line in text.splitlines() if (words := highlight.split_words(line))]
    found = []
    for start in range(0, len(sentences), EVALUATION_BATCH):
        some = sentences[start : start + EVALUATION_BATCH]
        answer = model(pad(some, taggers.PADDING, object))
        best = answer["probabilities"].numpy().max(axis=-1).tolist()
        for words, *tagged in zip(some, answer["tags"].numpy().tolist(), best, strict=True):
            tokens = zip(words, *tagged, strict=False)  # beyond the words lies padding
            found.append(
                [highlight.Token(word, tag.decode(), probability) for word, tag, probability in tokens]
            )
    return found


# -- the command line


def train_parser(reads):
    """The options of training, with the defaults for what the network reads, "characters" or "words"."""
    parser = training_parser(
        TASK,
        description="Train a gated cell to tag every element of a sequence, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN TEXT",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        default="python",
        help="python (the standard library's source, nothing to download), universal_dependencies/TREEBANK "
        "or conll2003 (through tensorflow-datasets), or a folder of train, dev and test files in CoNLL "
        f"columns ({', '.join(conll.SUFFIXES)}); some defaults shown here depend on it",
    )
    task.add_argument(
        "--column",
        help="where the tags are: upos or xpos in a treebank; ner, pos or chunks in conll2003; in a folder "
        "the number of a column, or its name in .conllu files. The first of these, or a folder's last "
        "column, if not given",
    )
    task.add_argument(
        "--residual",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="each recurrent layer adds its input, brought to its width, to its output",
    )
    task.add_argument(
        "--embedding", type=whole(1), help="width of the vector of a word, or of a character of code"
    )
    task.add_argument(
        "--characters",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read words by their characters too",
    )
    task.add_argument(
        "--character-embedding",
        type=whole(1),
        default=32,
        help="width of the vector of a character of a word",
    )
    task.add_argument(
        "--character-units",
        type=whole(1),
        default=48,
        help="width of the layer that reads a word's characters",
    )
    task.add_argument(
        "--word-dropout", type=share, default=0.3, help="share of words whose form is hidden in training"
    )
    task.add_argument(
        "--window", type=whole(1), default=128, help="characters of code that are read at a time in training"
    )
    parser.set_defaults(bidirectional=True, decay=True, **DEFAULTS[reads])
    return parser


def predict_parser():
    parser = Parser(prog=f"python -m experiments.{TASK} predict", description="Tag raw text.")
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="a file, or sentences; none: the standard input, a sentence a line",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="terminal (colours) where the output is one, else conll, if not given",
    )
    return parser


def reads_of(arguments):
    """What the dataset on the command line is made of: "characters" or "words"."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--dataset", nargs="?", default="python")
    return "characters" if is_python(parser.parse_known_args(arguments)[0]) else "words"


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = train_parser(reads_of(arguments))
    train = parser, lambda parser, options: training.train(TASK, prepare, parser, options)
    return command_line({"train": train, "predict": (predict_parser(), predict)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
