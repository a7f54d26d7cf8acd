"""A tag for every element of a sequence: `python -m experiments.tagging [train|predict|evaluate] …`."""

import argparse
import itertools
import sys

from experiments.common import highlight, starting, strength, training
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, looked_up, share, training_parser, whole
from experiments.common.run_folder import is_run
from experiments.common.texts import text_of
from experiments.common.together import evaluate_command
from experiments.inspect.look import look
from experiments.tagging import TASK
from experiments.tagging.answers import runs, sentences_of, tagged
from experiments.tagging.data import conll, is_python
from experiments.tagging.ensemble import ensemble, evaluate
from experiments.tagging.problem import EPOCHS_PER_PASS, prepare
from experiments.tagging.reading import reads_characters

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


def train(parser, options):
    training.train(TASK, lambda options: prepare(options, parser.given), look, parser, options)


def predict(parser, options):
    """Tag the text of the command line, of a file or of the standard input."""
    more = list(itertools.takewhile(is_run, options.text))
    (config, *_), model = ensemble([options.run, *more])
    text, name = text_of(options.text[len(more) :])
    if not text.strip():
        raise InputError(f"{name} is empty.")
    code = reads_characters(config)
    labels = config["labels"]
    if not code and name.lower().endswith(".conllu"):
        # a treebank is tagged as what it is: its own words, and by default the file with the tags in place
        sentences = tagged(model, labels, [words for words, _ in conll.read_file(name, notes=sys.stderr)])
        column = conll.column_of(config["options"].get("column"), labels)
        if options.format is None and column is not None:
            tags = [token.tag for sentence in sentences for token in sentence]
            sys.stdout.write(conll.with_tags(text, tags, column))
            return
    else:
        sentences = [runs(model, labels, text)] if code else sentences_of(model, labels, text)
    form = options.format or ("terminal" if sys.stdout.isatty() else "conll")
    sys.stdout.write(FORMATS[form](sentences, code, name))


FORMATS = {
    "terminal": lambda sentences, code, name: highlight.terminal(sentences, code),
    "conll": lambda sentences, code, name: highlight.conll(sentences, code),
    "json": lambda sentences, code, name: highlight.json_lines(sentences, code),
    "html": highlight.page,
}


def train_parser(reads):
    """The options of training, with the defaults for what the network reads, "characters" or "words"."""
    parser = training_parser(
        TASK,
        description="Train a recurrent network to tag every element of a sequence, and write a run folder.",
        epilog=f"Ask a trained model with: python -m experiments.{TASK} predict RUN TEXT",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--dataset",
        "--train",
        default="python",
        help="python (the standard library's source, nothing to download), universal_dependencies/TREEBANK "
        "or conll2003 (through tensorflow-datasets), or a path: a folder of train, dev and test files in "
        f"CoNLL columns ({', '.join(conll.SUFFIXES)}; esp.train, esp.testa, esp.testb), to which the "
        "beginning of their names may be added (conll2002/esp), or the training file; the defaults shown "
        "here are those for python",
    )
    task.add_argument(
        "--validation", "--dev", metavar="FILE", help="sentences that choose the best epoch; else a tenth"
    )
    task.add_argument("--test", metavar="FILE", help="sentences that give the measures")
    add_form_options(task)
    task.add_argument(
        "--auxiliary",
        metavar="COLUMN",
        help="learn the tags of this column, such as parts of speech, beside those of --column from the same "
        "recurrent states; they are needed in training alone",
    )
    task.add_argument(
        "--residual",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="add the input of each recurrent layer, projected to its width, to its output",
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
        "--word-dropout",
        type=share,
        default=0.3,
        help="share of words whose own vector is dropped in training",
    )
    task.add_argument(
        "--beside-vectors",
        metavar="FILE",
        help="read also the vectors of words of a file, as --vectors takes it, which stay as they are: so "
        "words that training lacks have one; its first 200,000 words count",
    )
    task.add_argument(
        "--lower-case",
        action=argparse.BooleanOptionalAction,
        help="one vector for a word however it is capitalised, and one for its shape, such as Xx or XX-0; "
        "by default where the tags mark spans, as B-PER and I-PER do",
    )
    task.add_argument(
        "--crf",
        action=argparse.BooleanOptionalAction,
        help="choose the tags of a sequence together, by a conditional random field; by default where the "
        "tags mark spans, which then are well-formed if those of the training part are",
    )
    task.add_argument("--window", type=whole(1), default=128, help="characters of code in a training example")
    strength.add_options(parser)
    starting.add_options(parser)
    parser.set_defaults(bidirectional=True, decay=True, **DEFAULTS[reads])
    return parser


def add_form_options(group):
    """The options that say how files of tagged sentences are written."""
    group.add_argument("--encoding", default=conll.ENCODING, help="encoding of the files, such as latin-1")
    group.add_argument(
        "--column",
        "--tag-column",
        help="where the tags are: upos or xpos in a treebank; ner, pos or chunks in conll2003; in a folder "
        "the number of a column, or its name in .conllu files; by default the first of these, and in a "
        "folder the last column",
    )


def predict_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} predict",
        description="Tag raw text. Several runs answer together, by the mean of their probabilities.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "text",
        nargs="*",
        metavar="RUN|TEXT",
        help="first any further runs; then a file, or sentences; without any, sentences are read from "
        "standard input, one per line; the words of a .conllu file are tagged as they stand, raw text is "
        "split into words and punctuation",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="by default terminal (in colours) if the output is a terminal, else conll; for a .conllu file, "
        "that file with its tags replaced",
    )
    return parser


def reads_of(arguments):
    """What the dataset on the command line is made of: "characters" or "words"."""
    return (
        "characters" if is_python(looked_up(arguments, "--dataset", "--train", default="python")) else "words"
    )


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {
        "train": (train_parser(reads_of(arguments)), train),
        "predict": (predict_parser(), predict),
        "evaluate": evaluate_command(TASK, evaluate, add_form_options),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
