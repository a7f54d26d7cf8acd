"""The command line of the server on Ray Serve, which a configuration file gives too."""

import argparse
import re

from experiments.common.options import Parser, not_negative, whole
from experiments.serve.options import add_options

DESCRIPTION = """Serve a trained model of text from several processes, on this machine or on a Ray cluster, as
python -m experiments.serve does from one. On a cluster, all machines must see RUN under the same path."""


def parser_of():
    parser = Parser(prog="python -m experiments.serve.scaled", description=DESCRIPTION)
    add_options(parser)
    parser.add_argument(
        "--replicas",
        type=bounds,
        default="1-2",
        metavar="MIN-MAX",
        help="processes that have the model, of one core each; as many as the requests need",
    )
    parser.add_argument(
        "--batch", type=whole(1, 1024), default=32, help="texts, or streams, that a replica reads at once"
    )
    parser.add_argument(
        "--wait",
        type=not_negative,
        default=0.0,
        metavar="SECONDS",
        help="how long a text waits for others to be read with; those that come meanwhile are read together "
        "in any case",
    )
    parser.add_argument("--ingresses", type=whole(1), default=1, help="processes that hold the connections")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="a Ray cluster, as `ray start --head` names it; by default one of this machine alone",
    )
    return parser


def bounds(text):
    """The type of `--replicas`: two numbers, the first at least 1 and at most the second, or one for both."""
    found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", text, re.ASCII)
    fewest, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= fewest <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not MIN-MAX, such as 1-4, with MIN at least 1")
    return fewest, most
