"""Ray: a cluster of this machine's cores or of many machines, and pieces that its actors score."""

import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import experiments
from experiments.common.errors import InputError, reason_of
from experiments.score.scorer import Scorer

ANSWERS_WITHIN = 25  # seconds
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
_CONNECT = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"


def ray_data():
    """The modules `ray` and `ray.data`. Raises `InputError` if they are not installed."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f"experiments.score needs Ray: pip install keras_gates[scale] ({reason_of(error)})."
        ) from error
    return ray


@contextlib.contextmanager
def connected(address):
    """Connected to the cluster at an address, or, if it is None, to one of this machine that ends with it.

    Gives the module `ray`. Raises `InputError` if the address does not answer in time.
    """
    ray = ray_data()
    if address is not None:
        _check_answers(address)
    here = {"num_cpus": os.cpu_count(), "include_dashboard": False} if address is None else {}
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


def scored(ray, run, items, text, folder, actors):
    """Score pieces; yields what `Scorer` says of each as it is finished.

    items: of the pieces, as `scorer.items` gives them.
    actors: how many, each of one core; if None, as many as the cluster has cores.

    Raises `InputError` if an actor fails otherwise than by the loss of its machine.
    """
    if not items:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    cores = int(ray.cluster_resources().get("CPU", 1))
    answered = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Scorer,
        fn_constructor_args=(run, text, folder),
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(actors or cores, len(items))),
    )
    try:
        yield from answered.iter_rows()
    except ray.exceptions.RayError as error:
        raise InputError(f"An actor failed: {str(error).strip().splitlines()[-1]}") from error
