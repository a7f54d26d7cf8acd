"""The command line of every task: its common options, types that check values, errors in one sentence."""

import argparse
import gc
import os
import shlex
import sys

from experiments.common.cells import cell_name
from experiments.common.errors import InputError, sentence_of
from experiments.common.stopping import Terminated, signals_raised

BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143  # exit codes; the latter two as after SIGINT and SIGTERM


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults of options, except None."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that shows defaults in its help, and errors in one sentence.

    After `parse_args`, `given` is the set of the names of those options that were given.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, formatter_class=_Help, allow_abbrev=False, **kwargs)

    def parse_args(self, args=None, namespace=None):
        options = super().parse_args(args, namespace)
        absent = []  # a list, since options that may be repeated are appended to a copy of it
        explicit = super().parse_args(args, argparse.Namespace(**dict.fromkeys(vars(options), absent)))
        self.given = {name for name, value in vars(explicit).items() if value is not absent}
        return options

    def error(self, message):
        raise InputError(message)


def whole(least, most=2**31 - 1):
    """The type of a whole number from `least` to `most`."""

    def parse(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def share(text):
    """The type of a number from 0 to below 1."""
    return _number(text, lambda value: 0 <= value < 1, "a number from 0 to below 1")


def positive(text):
    """The type of a finite number above 0."""
    return _number(text, lambda value: 0 < value < float("inf"), "a number above 0")


def not_negative(text):
    """The type of a finite number of at least 0."""
    return _number(text, lambda value: 0 <= value < float("inf"), "a number of at least 0")


def _number(text, accepts, expected):
    try:
        value = float(text)
    except ValueError:
        value = None
    if value is None or not accepts(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value


def training_parser(task, description, epilog=None, both_ways=True, examples="examples"):
    """A parser with the options of every task's training; the task adds its own.

    both_ways: whether a network of this task may read in both directions.
    examples: what --limit counts.
    """
    parser = Parser(prog=f"python -m experiments.{task}", description=description, epilog=epilog)
    model = parser.add_argument_group("model")
    model.add_argument(
        "--cell",
        type=cell_name,
        default="lstm",
        metavar="CELL",
        help="short name of the recurrent cell, which `python -m keras_gates` lists; or path.py:Class for a "
        "cell of your own",
    )
    model.add_argument("--units", type=whole(1), default=64, help="units of each recurrent layer")
    model.add_argument(
        "--parameters",
        type=whole(1),
        help="as many units instead as give the network at most so many parameters",
    )
    model.add_argument("--layers", type=whole(1), default=1, help="number of recurrent layers")
    if both_ways:
        model.add_argument(
            "--bidirectional",
            action=argparse.BooleanOptionalAction,
            default=False,
            help="read the sequence in both directions",
        )
    model.add_argument("--dropout", type=share, default=0.5, help="dropout rate before each layer")
    fit = parser.add_argument_group("training")
    fit.add_argument("--epochs", type=whole(1), default=10, help="number of epochs at most")
    fit.add_argument(
        "--patience",
        type=whole(1),
        default=2,
        help="stop after this many epochs without a better one; the weights of the best are kept",
    )
    fit.add_argument("--batch-size", type=whole(1), default=64, help="sequences in a batch")
    fit.add_argument("--learning-rate", type=positive, default=1e-3, help="learning rate of Adam")
    fit.add_argument(
        "--decay",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="let the learning rate fall to zero over --epochs, along a cosine",
    )
    fit.add_argument(
        "--clip", type=positive, default=1.0, help="clip the gradient of each weight to this norm"
    )
    fit.add_argument(
        "--average",
        type=share,
        default=0.0,
        metavar="MOMENTUM",
        help="validate and keep a moving average of the weights: at each step it keeps this share of itself, "
        "such as 0.999, and takes the rest from the weights; 0 for the weights themselves",
    )
    fit.add_argument(
        "--seed",
        type=whole(0, 2**32 - 1),
        default=0,
        help="random seed; the same seed gives the same result on the same machine",
    )
    fit.add_argument(
        "--devices",
        type=whole(1),
        default=1,
        help="train on so many devices, each with a part of every batch: GPUs if there are any, else parts "
        "of the CPU",
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--limit", type=whole(1), help=f"use at most this many {examples} of each part, for a quick try"
    )
    run.add_argument(
        "--out", metavar="RUN", help=f"the run folder; by default the next free runs/{task}-CELL"
    )
    run.add_argument(
        "--trace",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="write gates and states of the trained network on some test texts to RUN/inspection",
    )
    run.add_argument(
        "--model",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the trained model, its card and pictures in the run folder, beside the figures",
    )
    run.add_argument(
        "--resume",
        metavar="RUN",
        help="continue this interrupted run, with the options that it was started with; or, with more "
        "--epochs, a finished one, whose continuation is a run of its own",
    )
    return parser


def add_cell_of_run(parser):
    """Add the option that names the cell of a run: its file is run, so `load_network` knows the class."""
    parser.add_argument(
        "--cell", type=cell_name, metavar="FILE.py:CLASS", help="the run's cell, if it is a class of your own"
    )


def command_of(parser, options):
    """The command line that gives these options, without those that are defaults or say where the run is."""
    words = [
        word
        for name, value in vars(options).items()
        if name not in ("out", "resume") and value != parser.get_default(name)
        for word in _words_of(name, value)
    ]
    return shlex.join(["python", "-m", *parser.prog.split()[2:], *words])


def looked_up(arguments, *flags, default=None):
    """The value of an option on a command line that is not parsed yet: on it the other options depend.

    flags: the names of the option, as `add_argument` takes them.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(*flags, dest="value", nargs="?", default=default)
    return parser.parse_known_args(arguments)[0].value


def parse_again(parser, kept, source):
    """The options of an earlier call, by name, checked as the command line checks them.

    kept: the options as `vars` returned them then and JSON stored them.
    source: the file that stored them, named in errors.

    Raises `InputError` if these are not the parser's options, or it does not accept a value.
    """
    known = vars(parser.parse_args([]))
    if missing := sorted(known.keys() - kept.keys()):
        raise InputError(f"{source} is damaged, or of another version: it has no option {missing[0]!r}.")
    if unknown := sorted(kept.keys() - known.keys()):
        raise InputError(f"{source} is damaged, or of another version: there is no option {unknown[0]!r}.")
    try:
        options = parser.parse_args([word for name, value in kept.items() for word in _words_of(name, value)])
    except InputError as error:
        raise InputError(f"{source} is damaged: {error}.") from error
    for name, value in kept.items():
        if vars(options)[name] != value:
            raise InputError(f"{source} is damaged: the option {name!r} cannot be {value!r}.")
    return options


def _words_of(name, value):
    """An option and its value as words of a command line."""
    flag = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}={value}"]


def command_line(commands, arguments=None):
    """Run one of the commands and return the exit code.

    SIGTERM ends a command as Ctrl-C does.

    commands: name -> (parser, action); the first is the default, if no command is named.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments.pop(0) if arguments and arguments[0] in commands else next(iter(commands))
    code = _exit_code(*commands[name], arguments)
    if code:
        # An exception that is held in a cycle still holds the batches being read. TensorFlow makes them in a
        # thread that calls Python: to end that thread while Python itself is torn down hangs or crashes.
        gc.collect()
    return code


def _exit_code(parser, action, arguments):
    """Run an action, say on stderr what ended it early, and return the exit code."""
    try:
        with signals_raised():
            action(parser, parser.parse_args(arguments))
            sys.stdout.flush()
    except BrokenPipeError:
        # whoever read the output, such as `head`, has enough; what is left in the buffer has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"{parser.prog}: {sentence_of(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as stop:
        print(f"\n{parser.prog}: stopped. {stop}".rstrip(), file=sys.stderr)
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    return 0
