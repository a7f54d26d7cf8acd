"""A language model of characters or words: `python -m experiments.language [train|write|score] …`."""

import argparse
import os
import sys
from pathlib import Path

import keras_gates
from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.options import (
    Parser,
    add_cell_of_run,
    command_line,
    looked_up,
    positive,
    share,
    training_parser,
    whole,
)
from experiments.common.run_folder import check_labels, load_network, load_run, read_config
from experiments.common.texts import decoded
from experiments.inspect.look import look
from experiments.language import TASK, surprise, tokens
from experiments.language.data import SPLITS
from experiments.language.presets import PRESETS
from experiments.language.problem import prepare


def train(parser, options):
    training.train(TASK, prepare, look, parser, options)


def write(parser, options):
    """Print the prompt and what the model writes after it, token by token."""
    # as in the texts that were learnt: UTF-8, with "\n" at the ends of lines
    prompt = decoded(os.fsencode(options.prompt), "The prompt")
    if not prompt:
        raise InputError("The prompt is empty.")
    config = read_config(options.run, TASK)
    model = load_network(options.run)
    check_labels(config, model.output_shape[-1])
    how = keras_gates.Sampling(options.temperature, options.top_k, options.top_p, options.seed)
    print(prompt, end="", flush=True)
    for step in keras_gates.writing.stream(
        model, prompt=[prompt], length=options.length, how=how, head=tokens.HEAD
    ):
        print(step.text[0], end="", flush=True)
    print()


def score(parser, options):
    """Colour a text by how surprising each token is, and print the bits per character."""
    path = Path(options.file)
    text = decoded(path.read_bytes(), path)
    config, model = load_run(TASK, options.run)
    kind = tokens.kind_of(config)
    parts = tokens.split(text, kind)
    if len(parts) < 2:
        raise InputError(f"{path} has {len(parts)} {kind}; at least 2 are needed, one to foretell another.")
    scored = surprise.surprises(model, parts)
    form = options.format or ("terminal" if sys.stdout.isatty() else "json")
    sys.stdout.write(FORMATS[form](scored, f"{path.name}, as {config['options']['cell']} foretells it"))
    sys.stdout.flush()
    bits = surprise.bits_per_character(scored)
    print(f"{bits:.4f} bits per character, of {len(parts) - 1:,} {kind}", file=sys.stderr)


FORMATS = {"terminal": surprise.terminal, "json": surprise.json_lines, "html": surprise.page}


def train_parser(preset):
    """The options of training, with the defaults of a preset, or None."""
    parser = training_parser(
        TASK,
        description="Train a recurrent network to foretell a text character by character, or word by word, "
        "and write a run folder.",
        epilog=f"Let a trained model write with: python -m experiments.{TASK} write RUN PROMPT; "
        f"colour a text by its surprise with: python -m experiments.{TASK} score RUN FILE",
        both_ways=False,
        examples="characters",
    )
    task = parser.add_argument_group(TASK)
    task.add_argument(
        "--preset",
        choices=PRESETS,
        help="other defaults: min-char-rnn is the program of the lecture notes, shakespeare a large network "
        "for tiny Shakespeare; the defaults shown here are without",
    )
    task.add_argument(
        "--dataset",
        default="python",
        help="python (the standard library's source, nothing to download), tiny_shakespeare (through "
        "tensorflow-datasets), or the path of a text file in UTF-8 or of a folder of such files",
    )
    task.add_argument(
        "--split",
        choices=SPLITS,
        default="90/10",
        help="how a text is split, in its order: 90/10 tests on the last tenth and validates on the end of "
        "the rest, 90/5/5 trains on 90 %% and validates and tests on a twentieth each; the standard library "
        "is split by modules instead",
    )
    task.add_argument(
        "--tokens",
        choices=tokens.KINDS,
        default="characters",
        help="what is foretold; among words, punctuation marks and white space are tokens too",
    )
    task.add_argument(
        "--least-count",
        type=whole(1),
        default=2,
        help="tokens that occur less often in training are one, the unknown token, which is never written",
    )
    task.add_argument(
        "--vocabulary", type=whole(1), default=10_000, help="known tokens at most, the most frequent ones"
    )
    task.add_argument(
        "--embedding", type=whole(0), default=64, help="width of a token's vector; 0 for one-hot vectors"
    )
    task.add_argument(
        "--tied",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="compare the output with the tokens' vectors instead of with vectors of its own",
    )
    task.add_argument(
        "--steps", type=whole(1), default=100, help="steps through which a gradient is propagated back"
    )
    task.add_argument(
        "--cache",
        type=whole(0),
        default=0,
        metavar="STEPS",
        help="measure the test text with a continuous cache of so many steps too, tuned on the validation "
        "part: it finds again what the text has brought up (Grave et al. 2017); 0 for none",
    )
    task.add_argument(
        "--optimizer", choices=("adam", "adagrad"), default="adam", help="how the weights are updated"
    )
    task.add_argument(
        "--clip-each",
        type=positive,
        help="instead of --clip: clip each element of the gradient, of the loss summed over the steps of a "
        "chunk, to this size",
    )
    task.add_argument(
        "--initial-deviation",
        type=positive,
        help="let weights begin normally distributed with this standard deviation, instead of as the layers "
        "have it; biases stay as they are",
    )
    defaults = {"units": 256, "dropout": 0.0, "epochs": 7, "learning_rate": 4e-3, "batch_size": 32}
    parser.set_defaults(**{"decay": True, **defaults, **PRESETS.get(preset, {})})
    return parser


def write_parser():
    parser = Parser(prog=f"python -m experiments.{TASK} write", description="Let a trained model write.")
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    add_cell_of_run(parser)
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="\n", help="how the text begins")
    parser.add_argument("--length", type=whole(1), default=500, help="tokens to write")
    parser.add_argument(
        "--temperature", type=positive, default=0.8, help="below 1 the probable becomes more probable"
    )
    parser.add_argument("--top-k", type=whole(1), help="draw among the k most probable tokens only")
    parser.add_argument(
        "--top-p", type=share, help="draw among the fewest tokens that have this probability together"
    )
    parser.add_argument(
        "--seed", type=whole(0, 2**31 - 1), help="the same seed writes the same text; another each time"
    )
    return parser


def score_parser():
    parser = Parser(
        prog=f"python -m experiments.{TASK} score",
        description="Colour a text by how surprising each token is, and print the bits per character.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("file", metavar="FILE", help="a text file")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="by default terminal (in colours) if the output is a terminal, else json",
    )
    return parser


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {
        "train": (train_parser(looked_up(arguments, "--preset")), train),
        "write": (write_parser(), write),
        "score": (score_parser(), score),
    }
    return command_line(commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
