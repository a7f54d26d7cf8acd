"""The command line of the server."""

import sys

try:
    import uvicorn
except ImportError as error:
    sys.exit(f"python -m experiments.serve needs a web server: pip install keras_gates[serve] ({error}).")

from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line
from experiments.serve import access
from experiments.serve.application import application, service_of
from experiments.serve.limits import END_SECONDS, MOST_BYTES, MOST_HEADER_BYTES
from experiments.serve.options import add_options, listening
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
    add_options(parser)
    return command_line({"serve": (parser, serve)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
