"""A worker: it takes trials from the queue, one after the other, until none is left.

A trial trains in a process of its own, which holds the lock of its folder together with the worker. If the
worker is killed, that process goes on; whoever takes the trial next waits for it and uses its run. Where it
can be, the process is a fork, which need not import TensorFlow.
"""

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import experiments
from experiments.common.cells import is_in_file
from experiments.common.errors import DIVERGED
from experiments.common.fitting import SCORE
from experiments.common.run_folder import CONFIG, RunFolder, read_history, read_metrics
from experiments.compare.forks import AVAILABLE, Fork
from experiments.compare.locks import AGAIN, held
from experiments.compare.plan import Trial
from experiments.compare.search import settings_of
from experiments.compare.study import (
    UNREACHABLE,
    by_trial,
    finished,
    is_open,
    open_study,
    repeated,
    revive,
)

TRIES = 3  # times that a process of a trial may be killed before the trial has failed
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


class TrialFailed(Exception):
    """A trial could not be run; the message is the sentence with which it ended."""


def work(out, slot, storage, heartbeat):
    """Work in the folder of a comparison until no trial is open; return at once if the slot is taken.

    The environment of this process becomes that of its trials.
    """
    os.environ.update(environment())
    with held(slot_lock(out, slot), wait=False) as lock:
        if lock is None:
            return

        def some_work():
            # opened anew after its connection was cut: what was taken then may have no sign of life yet
            study = open_study(storage, heartbeat, patience=UNREACHABLE)
            while work_is_left(study, out):
                pass

        repeated(some_work)


def work_is_left(study, out):
    """Run a trial of the queue, if there is one; returns whether any trial is open."""
    revive(study)
    kept = by_trial(study)
    if not any(map(is_open, kept.values())):
        return False
    if any(each.state.name == "WAITING" for several in kept.values() for each in several):
        take(study, out)
    else:  # others run; one of them may come back to the queue
        time.sleep(AGAIN)
    return True


def take(study, out):
    """Run a trial of the queue.

    If the database does not answer for a while, another process may take this worker for dead, and put the
    trial back into the queue. Then its result is not asked for here: whoever takes it next uses its run.
    """
    given_up = False

    def objective(taken):
        nonlocal given_up
        try:
            return repeated(run, taken, out)
        finally:
            given_up = repeated(study.get_trials, False)[taken.number].state.name != "RUNNING"

    try:
        study.optimize(objective, n_trials=1, catch=(TrialFailed,))
    except Exception:
        if not given_up:
            raise


def slot_lock(out, slot):
    return out / "workers" / f"{slot}.lock"


def run(taken, out):
    """Run one of Optuna's trials and return its main measure. Ends as pruned if the run diverged."""
    import optuna

    trial = Trial.of(taken.user_attrs)
    if trial is None:  # another worker was faster, and Optuna has made a trial of nothing
        raise optuna.TrialPruned
    try:
        # two drivers that begin at the same time may both put it into the queue
        settings, metrics = result_of(trial, by_trial(taken.study), out)
    except TrialFailed as error:
        taken.set_user_attr("error", str(error))
        raise
    taken.set_user_attr("settings", settings)
    if metrics is None:
        raise optuna.TrialPruned
    taken.set_user_attr("metrics", metrics)
    return metrics["value"]


def result_of(trial, kept, out):
    """The settings of a trial and what the report needs of its metrics, None if it diverged.

    What is not finished is trained here: the trial, and with TPE those before it in its search, so their
    places in the queue do not matter.

    kept: Optuna's trials, by ours.
    """
    earlier = []
    for number in range(0 if trial.sampler == "tpe" else trial.number, trial.number + 1):
        one = trial._replace(number=number)
        if done := finished(kept.get(one, [])):
            settings, metrics = done.user_attrs["settings"], done.user_attrs.get("metrics")
        else:
            settings = settings_of(one, earlier) if one.sampler else {}
            metrics = locked(one, out / "trials" / one.name(), settings)
        earlier.append((settings, metrics["cost"] if metrics else None))
    return settings, metrics


def locked(trial, folder, settings):
    """What `trained` returns, once no other process holds the lock of the folder."""
    with held(folder.with_name(f"{folder.name}.lock"), wait=True) as lock:
        return trained(trial, folder, settings, lock)


def trained(trial, folder, settings, lock):
    """Train a trial unless its run is there; what the report needs of its metrics, or None if it diverged."""
    for _ in range(TRIES):
        if folder.exists():
            return read_result(folder)
        code, last = process(trial, folder, settings, lock)
        if DIVERGED in last:
            return None
        if code > 0:
            raise TrialFailed(last or f"exit code {code}")
    if not folder.exists():
        raise TrialFailed(f"its process ended {TRIES} times before its run was complete")
    return read_result(folder)


def read_result(folder):
    """What the report needs of a run; None if its main measure is not finite.

    Its `curve` is what was measured in validation after each epoch, and chose the best: `validated` says
    whether that is a score, higher is better, or the loss. Its `cost`, lower is better, is that of the best.
    """
    metrics = read_metrics(folder)
    main = metrics.get("main_measure")
    if main is None:
        raise TrialFailed("its metrics.json names no main measure, so its task cannot be compared")
    if not math.isfinite(main["value"]):
        return None
    history = read_history(folder)
    validated = SCORE if SCORE in history[0] else "val_loss"
    curve = [row[validated] for row in history]
    return {
        "measure": main["name"],
        "better": main["better"],
        "value": main["value"],
        "cost": -max(curve) if validated == SCORE else min(curve),
        "curve": curve,
        "validated": validated,
        "parameters": metrics["parameters"],
        "seconds": round(metrics["seconds_per_epoch"] * metrics["epochs"], 2),
        "versions": metrics["versions"],
    }


def process(trial, folder, settings, lock):
    """Train in a process, from the beginning or where it was interrupted: (exit code, last line it wrote)."""
    partial = RunFolder(folder).partial
    if (partial / CONFIG).is_file():
        cell = ["--cell", trial.cell] if is_in_file(trial.cell) else []
        arguments = [trial.module(), "--resume", str(folder), *cell]
    else:
        shutil.rmtree(partial, ignore_errors=True)
        arguments = trial.arguments(folder, settings)
    log = folder.with_name(f"{folder.name}.log")
    training = (Fork if AVAILABLE else fresh)(arguments, log, lock)
    try:
        code = training.wait()
    except BaseException:
        training.terminate()
        training.wait()
        raise
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return code, lines[-1] if lines else ""


def fresh(arguments, log, lock):
    """A new process, with the arguments of `Fork`, that keeps the lock open where files have locks."""
    with log.open("w", encoding="utf-8") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=() if sys.platform == "win32" else (lock,),
        )


def environment():
    """That of a worker and its trials: the experiments can be imported, and each trial has one thread.

    So its result does not depend on how many trials run side by side.
    """
    root = str(Path(experiments.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": path}
