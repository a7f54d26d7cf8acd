"""The command line of the server."""

import socket
import sys

try:
    import uvicorn
except ImportError as error:
    sys.exit(f"python -m experiments.serve needs a web server: pip install keras_gates[serve] ({error}).")

from experiments.common.errors import InputError
from experiments.common.options import Parser, add_cell_of_run, command_line, whole
from experiments.serve import access
from experiments.serve.application import application, service_of
from experiments.serve.limits import END_SECONDS, MOST_BYTES, MOST_HEADER_BYTES
from experiments.serve.protocol import TimedProtocol

DESCRIPTION = """Serve a trained model over HTTP and WebSocket: one of text, with a page to type on, or one
that captions pictures or answers questions about them, with a page to draw on. There are no passwords and no
encryption: who reaches the address can use the model."""


def serve(parser, options):
    try:
        service = service_of(options.model)
    except ValueError as error:
        raise InputError(str(error)) from error
    checks = access.middleware(options.host, options.allow_host, options.allow_origin)
    server = uvicorn.Server(settings(application(service, checks)))
    with listening(options.host, options.port) as listener:
        host, port = access.bracketed(options.host), listener.getsockname()[1]
        print(f"Serving {options.model} at http://{host}:{port}/; Ctrl+C ends it.", flush=True)
        server.run([listener])


def listening(host, port):
    """A socket that listens at the address; an InputError if that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        raise InputError(f"Cannot listen at {access.bracketed(host)}:{port}: {error}.") from error


def settings(app):
    return uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="websockets-sansio",
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        ws_max_size=MOST_BYTES,
        # A few bytes can unpack to a whole message, and many such messages come at once.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=END_SECONDS,
        log_config=None,  # uvicorn's closes the handlers that others have set up
        log_level="warning",
    )


def main(arguments=None):
    parser = Parser(prog="python -m experiments.serve", description=DESCRIPTION)
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
    return command_line({"serve": (parser, serve)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
