"""The command line of the server on Ray Serve."""

import contextlib
import logging
import sys
import time

try:
    import starlette  # noqa: F401 (which the modules below need)
except ImportError as error:
    sys.exit(f"python -m experiments.serve.scaled needs Ray: pip install keras_gates[scale] ({error}).")

from experiments.common.cluster import connected, library_of_ray
from experiments.common.errors import InputError, reason_of
from experiments.common.options import command_line
from experiments.serve.access import bracketed
from experiments.serve.application import service_of
from experiments.serve.options import listening
from experiments.serve.scaled.options import parser_of

NAME = "keras_gates"  # of the application in the cluster


def serve_scaled(parser, options):
    """Serve until the process is asked to end."""
    serve = library_of_ray("experiments.serve.scaled", "serve").serve
    check_model(options.model)
    with listening(options.host, options.port) as free:
        port = free.getsockname()[1]
    with connected(options.address), running(serve, options, port):
        print(
            f"Serving {options.model} at http://{bracketed(options.host)}:{port}/; Ctrl+C ends it.",
            flush=True,
        )
        while True:
            time.sleep(1)


def check_model(path):
    """Raise `InputError` unless it is a model of text, before replicas try to load it."""
    try:
        service = service_of(path)
    except ValueError as error:
        raise InputError(str(error)) from error
    if service.page != "page.html":
        raise InputError(f"{path} is a run about pictures: serve it by python -m experiments.serve.")


@contextlib.contextmanager
def running(serve, options, port):
    """The application runs in the cluster, and is removed at the end."""
    from experiments.serve.scaled.application import bound  # imports Ray

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    # On a cluster, each machine listens at the port; requests go from there to any ingress.
    place = "HeadOnly" if options.address is None else "EveryNode"
    try:
        serve.start(proxy_location=place, http_options={"host": options.host, "port": port})
        serve.run(bound(options), name=NAME, route_prefix="/")
    except Exception as error:  # whatever a replica, the controller or a port may raise
        raise InputError(f"Ray cannot serve {options.model}: {reason_of(error)}.") from error
    try:
        yield
    finally:
        serve.delete(NAME)


def main(arguments=None):
    return command_line({"serve": (parser_of(), serve_scaled)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
