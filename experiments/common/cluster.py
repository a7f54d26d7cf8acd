"""Ray: a cluster of this machine's cores, or of many machines.

Ray is imported by the tools that need it, and only when they run.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import experiments
from experiments.common.errors import InputError, reason_of

ANSWERS_WITHIN = 25  # seconds
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
_CONNECT = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"


def library_of_ray(tool, name):
    """The module `ray`, with its library of a name, such as "data", imported.

    Raises `InputError`, which names the tool and the command of installation, if they are not installed.
    """
    try:
        importlib.import_module(f"ray.{name}")
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError(f"{tool} needs Ray: pip install keras_gates[scale] ({reason_of(error)}).") from error


@contextlib.contextmanager
def connected(address):
    """Connected to the cluster at an address, or, if it is None, to one of this machine that ends with it.

    Gives the module `ray`. Raises `InputError` if the address does not answer in time.
    """
    import ray

    if address is not None:
        _check_answers(address)
    here = {"num_cpus": os.cpu_count(), "include_dashboard": False} if address is None else {}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": environment()},
            logging_level="ERROR",
            log_to_driver=False,
            **here,
        )
    except Exception as error:  # whatever its processes, ports or the memory may raise
        raise InputError(f"Ray cannot start here: {reason_of(error)}.") from error
    signal.signal(signal.SIGTERM, on_sigterm)  # which Ray has replaced by one of its own
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address):
    """Raise `InputError` unless a process can connect to the address: Ray would wait for minutes."""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _CONNECT, address],
            timeout=ANSWERS_WITHIN,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"The cluster {address} did not answer in {ANSWERS_WITHIN} seconds.") from error
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"Cannot connect to the cluster {address}: {reason}")


def environment():
    """Variables of an actor's process: one thread, and the folder that the experiments are in."""
    root = str(Path(experiments.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**ONE_THREAD, "PYTHONPATH": path}
