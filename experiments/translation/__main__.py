"""An encoder–decoder that translates: `python -m experiments.translation [train|predict|ladder] …`."""

import argparse
import itertools
import sys
from pathlib import Path

from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.options import (
    Parser,
    add_cell_of_run,
    command_line,
    looked_up,
    not_negative,
    training_parser,
    whole,
)
from experiments.common.run_folder import load_network, read_config
from experiments.common.texts import input_lines
from experiments.inspect.look import look
from experiments.translation import TASK, alignment, ladder
from experiments.translation.network import MEANS
from experiments.translation.presets import PRESETS, defaults
from experiments.translation.problem import prepare
from experiments.translation.tokens import KINDS
from experiments.translation.translator import translator_of
from keras_gates._files import written_whole

LONGEST_TEXT = 1000  # words or characters of a text that is translated
READ_AT_ONCE = 256  # lines of the standard input
DRAWN = 4  # texts in a picture


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def climb(parser, options):
    ladder.climb(parser, look, options)


def predict(parser, options):
    """Print the translations of the texts on the command line, or of the lines of the standard input."""
    config = read_config(options.run, TASK)
    translator = translator_of(load_network(options.run), config)
    if (options.alignment or options.picture) and not translator.attends:
        raise InputError(f"{options.run} was trained without attention, so it has no alignment to show.")
    if options.picture and options.picture.suffix not in alignment.SUFFIXES:
        raise InputError(f"--picture: {options.picture} is not named {' or '.join(alignment.SUFFIXES)}.")
    drawn = []
    together = 1 if sys.stdin.isatty() else READ_AT_ONCE
    for texts in batched(enumerate(options.text or input_lines(), 1), together):
        check_lengths(translator, texts)
        found = translator.translate(
            [text for _, text in texts], options.beam, options.length_penalty, options.n_best
        )
        for translations in found:
            show(translations, options)
        sys.stdout.flush()
        drawn += [best for best, *_ in found if best.pieces][: DRAWN - len(drawn)]
    if options.picture:
        if not drawn:
            raise InputError("There is no alignment to draw: nothing was translated.")
        with written_whole(options.picture, "picture", replace=True) as partial:
            alignment.draw(drawn, partial, options.picture.suffix)


def show(translations, options):
    for translation in translations:
        score = f"{translation.score:.4f}\t" if options.scores else ""
        print(score + translation.text)
        if options.alignment and translation.pieces:
            print(alignment.terminal(translation))


def batched(items, size):
    """Lists of at most so many items, as they come."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def check_lengths(translator, texts):
    for number, text in texts:
        if len(text) > LONGEST_TEXT and len(translator.source.pieces([text])[0]) > LONGEST_TEXT:
            raise InputError(
                f"Text {number} is too long, {len(text):,} characters; at most {LONGEST_TEXT:,} "
                f"{translator.source.kind} are translated."
            )


def train_parser(dataset="cmudict", preset=None):
    """The options of training, with the defaults for a dataset and a preset, or None."""
    parser = training_parser(
        TASK,
        description="Train an encoder–decoder to translate, and write a run folder.",
        epilog=f"Translate with: python -m experiments.{TASK} predict RUN TEXT. The same options with "
        f"python -m experiments.{TASK} ladder train thrice each without attention, with one context for all "
        "steps and with attention, and print a table.",
        examples="texts",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--preset", choices=PRESETS, help="other defaults: a larger network that takes longer to train"
    )
    task.add_argument(
        "--dataset",
        default="cmudict",
        help="cmudict (English words to their phonemes, nothing to download), ted_hrlr_translate/PAIR "
        "(through tensorflow-datasets), a file with a text, a tab and its translation in each line, or a "
        "folder of parallel files such as train.de and train.en, val.de and test.de, perhaps as .gz; the "
        "defaults shown here are those for it",
    )
    task.add_argument("--from", metavar="LANGUAGE", help="of a folder: the ending of the files to translate")
    task.add_argument("--to", metavar="LANGUAGE", help="of a folder: the ending of their translations")
    task.add_argument(
        "--test", metavar="NAME", help="of a folder: the test, such as test_2016; by default the first"
    )
    task.add_argument("--source-tokens", choices=KINDS, help="what a text is read as")
    task.add_argument(
        "--target-tokens", choices=KINDS, default="words", help="what a translation is written as"
    )
    task.add_argument(
        "--lower", choices=("both", "source", "none"), help="which side is read and written in lower case"
    )
    task.add_argument(
        "--least-count",
        type=whole(1),
        help="words and characters that occur less often in training are one, the unknown",
    )
    task.add_argument(
        "--longest", type=whole(1), help="leave pairs with more words or characters out of training"
    )
    task.add_argument(
        "--attention",
        choices=MEANS,
        default="general",
        help="what the decoder sees of the text: none, the states it begins with; context, the last state "
        "at every step; additive, dot or general, all states, by attention with scores of that kind",
    )
    task.add_argument(
        "--hard",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="attend to one place at a time",
    )
    task.add_argument("--embedding", type=whole(1), help="width of the vector of a word or a character")
    add_search_options(task)
    parser.set_defaults(**defaults(dataset, preset))
    return parser


def predict_parser():
    parser = Parser(prog=f"python -m experiments.{TASK} predict", description="Translate texts.")
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    add_cell_of_run(parser)
    parser.add_argument(
        "text",
        nargs="*",
        default=[],
        metavar="TEXT",
        help="texts; without any, the lines of the standard input",
    )
    add_search_options(parser)
    parser.add_argument(
        "--n-best", type=whole(1, 100), default=1, help="write so many lines for each text, the best first"
    )
    parser.add_argument(
        "--scores", action="store_true", help="write the score and a tab before each translation"
    )
    parser.add_argument("--alignment", action="store_true", help="show in shades where the decoder attended")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help=f"draw where it attended, for at most {DRAWN} texts: a .png or .svg file",
    )
    return parser


def add_search_options(group):
    group.add_argument(
        "--beam", type=whole(1, 100), default=5, help="width of the beam search; 1 is the greedy search"
    )
    group.add_argument(
        "--length-penalty",
        type=not_negative,
        default=0.0,
        help="α in the score of the beam search, log p / ((5 + length) / 6)^α",
    )


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = train_parser(
        looked_up(arguments, "--dataset", default="cmudict"), looked_up(arguments, "--preset")
    )
    commands = {
        "train": (parser, train),
        "predict": (predict_parser(), predict),
        "ladder": (parser, climb),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
