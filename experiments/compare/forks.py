"""The process of a trial, forked from a server that has imported TensorFlow but has not computed with it.

The import takes longer than many a training. TensorFlow starts its threads when it first computes, and a
forked process has none of its parent's threads, so the server only imports. It is that of the standard
library's `multiprocessing`, one for each worker. What a fork trains equals, to the last bit, what a process
of its own trains.
"""

import contextlib
import multiprocessing
import os
import runpy
import sys
from multiprocessing.connection import Connection

# Windows has no fork, and libraries of macOS may crash in a forked process.
AVAILABLE = sys.platform == "linux"
IMPORTED = ["experiments.common.training"]
# Exit codes: that which `multiprocessing` gives a process whose server was killed, and that of a killed one.
LOST, KILLED = 255, -9


class Fork:
    """A process that runs `python -m` with some arguments, with the methods of a `subprocess.Popen`.

    arguments: the words after `python -m`.
    log: the file to which all output goes.
    lock: a file descriptor that the process keeps open until it ends.
    """

    def __init__(self, arguments, log, lock):
        log.write_bytes(b"")
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(IMPORTED)
        self._end, end = server.Pipe(duplex=False)
        with end, Connection(os.dup(lock)) as held:
            self._process = server.Process(target=_run, args=(arguments, log, held, end))
            with contextlib.suppress(EOFError, OSError):  # the server was killed; `wait` tells
                self._process.start()

    def wait(self):
        """Wait for the end of the process; its exit code, negative if it was killed or is not known."""
        self._end.poll(None)  # until nobody holds the other end: the process may outlive its server
        if self._process.pid is not None:
            self._process.join()
        code = self._process.exitcode
        return KILLED if code in (None, LOST) else code

    def terminate(self):
        if self._process.pid is not None:
            self._process.terminate()


def _run(arguments, log, *kept):
    """What the process does. kept: what it holds open."""
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    module, *sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
