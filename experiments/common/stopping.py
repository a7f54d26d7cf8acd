"""How SIGINT and SIGTERM stop a command.

Each raises an exception where the program is. That may be inside of a library that catches every exception,
as Keras does in places while it traces, or in a finalizer, where Python prints exceptions and goes on. So the
stop is remembered, and long work asks for it again.
"""

import contextlib
import signal


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: the command ends as after Ctrl-C, with another exit code."""


_received = None  # the exception of the last signal, once it was raised


@contextlib.contextmanager
def signals_raised():
    """Within the context, SIGTERM raises `Terminated`, as SIGINT raises `KeyboardInterrupt`.

    SIGINT stays ignored where the caller has it ignored.
    """
    global _received
    _received = None
    kinds = {signal.SIGTERM: Terminated}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        kinds[signal.SIGINT] = KeyboardInterrupt

    def stop(signum, frame):
        global _received
        _received = kinds[signum]
        raise _received

    before = {signum: signal.signal(signum, stop) for signum in kinds}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def raise_if_stopped():
    """Raise the stop again if it was raised before."""
    if _received is not None:
        raise _received


@contextlib.contextmanager
def stop_instead_of_errors():
    """Within the context, an error after a stop is the stop, which a library has made into that error."""
    try:
        yield
    except Exception:
        raise_if_stopped()
        raise
