"""The driver: it fills the queue, keeps as many workers as there are to be, and tells how far they are."""

import datetime
import subprocess
import sys
import time

from experiments.common.errors import InputError
from experiments.common.options import BAD_INPUT
from experiments.compare.locks import held
from experiments.compare.study import by_trial, enqueue_missing, finished, is_open, repeated, revive
from experiments.compare.worker import environment, slot_lock

EVERY = 1.0  # seconds between two looks at least
REST = 10  # times that which a look took, until the next: one at hundreds of trials is not free


def drive(study, trials, out, jobs, storage, heartbeat):
    """Run all trials; returns the sentences with which some failed, by trial.

    Workers of a driver that was killed are recognised by their locks, and count.
    """
    enqueue_missing(study, trials)
    workers, told = {}, None
    try:
        while True:
            began = time.monotonic()
            repeated(revive, study)
            kept = repeated(by_trial, study)
            line = progress(trials, kept, jobs)
            if line != told:
                print(line, flush=True)
                told = line
            if not any(is_open(kept.get(trial, [])) for trial in trials):
                return failures(trials, kept)
            for slot in range(jobs):
                _keep_working(workers, slot, out, storage, heartbeat)
            time.sleep(max(EVERY, REST * (time.monotonic() - began)))
    except KeyboardInterrupt as stop:
        raise type(stop)("The same command continues.") from None
    finally:
        for worker in workers.values():
            worker.terminate()
        for worker in workers.values():
            worker.wait()


def _keep_working(workers, slot, out, storage, heartbeat):
    """Start a worker in a slot that has none."""
    worker = workers.get(slot)
    if worker is not None:
        code = worker.poll()
        if code is None:
            return
        if code in (1, BAD_INPUT):  # it was not killed: the next one would end so too
            raise InputError(f"A worker ended with exit code {code}; see {worker_log(out, slot)}.")
    with held(slot_lock(out, slot), wait=False) as lock:
        if lock is None:
            return
    words = ["work", str(out), str(slot), "--storage", storage, "--heartbeat", str(heartbeat)]
    with worker_log(out, slot).open("a", encoding="utf-8") as log:
        workers[slot] = subprocess.Popen(
            [sys.executable, "-m", "experiments.compare", *words],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def worker_log(out, slot):
    return slot_lock(out, slot).with_suffix(".log")


def failures(trials, kept):
    """The sentence with which each trial failed that has no result."""
    return {
        trial: kept[trial][-1].user_attrs.get("error", "interrupted")
        for trial in trials
        if finished(kept[trial]) is None
    }


def progress(trials, kept, jobs):
    """How many trials are finished, and about how long the others take, in a line."""
    done = [found for trial in trials if (found := finished(kept.get(trial, []))) is not None]
    opened = [trial for trial in trials if is_open(kept.get(trial, []))]
    running = sum(any(each.state.name == "RUNNING" for each in kept[trial]) for trial in opened)
    parts = [f"{len(done)} of {len(trials)} done", f"{running} running"]
    if diverged := sum(each.state.name == "PRUNED" for each in done):
        parts.append(f"{diverged} diverged")
    if failed := len(trials) - len(done) - len(opened):
        parts.append(f"{failed} failed")
    spans = [each.duration for each in done if each.duration is not None]
    if spans and opened:
        left = sum(spans, datetime.timedelta()) / len(spans) * len(opened) / jobs
        parts.append(f"about {_span(left)} left")
    return ", ".join(parts)


def _span(duration):
    minutes = round(duration.total_seconds() / 60)
    if minutes < 1:
        return "a minute"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
