"""Locks of files that end with the last process that holds them, however it ends."""

import contextlib
import os
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

AGAIN = 0.5  # seconds


@contextlib.contextmanager
def held(path, wait):
    """Hold the lock of a file; gives its file descriptor, or None if it is taken and `wait` is false.

    A process that is started with the descriptor holds the lock too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield file if _taken(file, wait) else None
    finally:
        os.close(file)


def _taken(file, wait):
    while fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                return False
            time.sleep(AGAIN)
        else:
            return True
    return True
