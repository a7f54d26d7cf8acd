"""The options of every server, and the socket at its address."""

import socket

from experiments.common.errors import InputError
from experiments.common.options import add_cell_of_run, whole
from experiments.serve import access


def add_options(parser):
    """Add what is served, and at which address for whom."""
    parser.add_argument(
        "model", metavar="RUN", help="run folder, or SavedModel that keras_gates.export wrote"
    )
    add_cell_of_run(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; only this machine reaches 127.0.0.1, the whole network 0.0.0.0",
    )
    parser.add_argument("--port", type=whole(0, 65535), default=8000, help="port; 0 for a free one")
    parser.add_argument(
        "--allow-host",
        type=access.host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="name under which clients may call the server, beside localhost and --host; may be repeated",
    )
    parser.add_argument(
        "--allow-origin",
        type=access.origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin of pages that may call the server, such as https://example.org; may be repeated",
    )


def listening(host, port):
    """A socket that listens at the address; an InputError if that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise InputError(f"Cannot listen at {access.bracketed(host)}:{port}: {error}.") from error
