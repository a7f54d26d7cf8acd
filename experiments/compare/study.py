"""The trials in Optuna's storage, which outlives any process that is killed.

Each is put into the queue with its task, cell and seed as attributes: a sampler of a grid would give two
workers the same point. A worker that is dead is known by its heartbeat; its trial goes back to the queue.
"""

import time
import warnings

from experiments.common.errors import InputError, reason_of
from experiments.compare.plan import Trial

NAME = "compare"
MISSED = 3  # heartbeats after which a worker is taken for dead
PATIENCE = 60  # seconds for which a process waits for another that writes to SQLite
UNREACHABLE = 600  # seconds for which a process waits for a database that it cannot connect to again
AGAIN = 0.5  # seconds between two attempts


def open_study(storage, heartbeat, patience=0):
    """The study in a storage, which is made if there is none.

    storage: the address of a database, as SQLAlchemy writes it, such as sqlite:///compare/study.db.
    heartbeat: seconds between two signs of life of a worker.

    patience: seconds for which to wait for a database that does not answer yet.

    Raises `InputError` if Optuna is not installed or the storage cannot be opened.
    """
    import_optuna()
    until = time.monotonic() + patience
    while True:
        try:
            return _opened(storage, heartbeat)
        except Exception as error:  # whatever SQLAlchemy, its driver or the network may raise
            if time.monotonic() >= until:
                raise InputError(f"Cannot open the storage {storage}: {reason_of(error)}.") from error
        time.sleep(AGAIN)


def _opened(storage, heartbeat):
    optuna = import_optuna()

    def back_to_the_queue(study, trial):
        study.enqueue_trial({}, user_attrs=dict(trial.user_attrs))

    engine = {"connect_args": {"timeout": PATIENCE}} if storage.startswith("sqlite:") else {}
    opened = optuna.storages.RDBStorage(
        storage,
        engine_kwargs={**engine, "pool_pre_ping": True},  # a connection that was cut is made again
        heartbeat_interval=heartbeat,
        grace_period=heartbeat and MISSED * heartbeat,
        heartbeat_stale_trial_callback=back_to_the_queue,
    )
    _wait_to_connect_again(opened.engine)
    study = optuna.create_study(storage=opened, study_name=NAME, load_if_exists=True)
    if heartbeat:
        _sign_for_silent(study, opened)
    return study


def _wait_to_connect_again(engine):
    """Let every further connection of SQLAlchemy's engine wait for a database that does not answer."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def connect(dialect, record, arguments, options):
        until = time.monotonic() + UNREACHABLE
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() >= until:
                    raise
            time.sleep(AGAIN)


def repeated(function, *arguments):
    """What a function returns that asks the database; it is called again if its connection was cut meanwhile.

    So it must do no harm if it runs twice. A further connection waits for the database.
    """
    cut = import_optuna().exceptions.StorageInternalError
    for _ in range(2):
        try:
            return function(*arguments)
        except cut:
            time.sleep(AGAIN)
    return function(*arguments)


def _sign_for_silent(study, storage):
    """Give every running trial a sign of life, once, when a process opens the study.

    A worker that is killed before its first heartbeat leaves a trial without any, which Optuna would take
    for running for ever. A worker that lives signs for itself, and a dead one now falls silent.
    """
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING":
            storage.record_heartbeat(trial._trial_id)


def import_optuna():
    """The module Optuna, which says little. Raises `InputError` if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            f"experiments.compare needs Optuna: pip install keras_gates[sweep] ({error})."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats are
    return optuna


def by_trial(study):
    """Optuna's trials of each of ours, in their order."""
    found = {}
    for kept in study.get_trials(deepcopy=False):
        if (trial := Trial.of(kept.user_attrs)) is not None:
            found.setdefault(trial, []).append(kept)
    return found


def finished(kept):
    """The first finished of Optuna's trials of one of ours, completed or diverged; None if there is none."""
    return next((each for each in kept if each.state.name in ("COMPLETE", "PRUNED")), None)


def is_open(kept):
    """Whether one of Optuna's trials waits or runs."""
    return any(each.state.name in ("WAITING", "RUNNING") for each in kept)


def enqueue_missing(study, trials):
    """Put those trials into the queue that are neither finished, running nor in the queue."""
    known = by_trial(study)
    for trial in trials:
        kept = known.get(trial, [])
        if finished(kept) is None and not is_open(kept):
            study.enqueue_trial({}, user_attrs=trial._asdict())


def revive(study):
    """Put the trials of dead workers back into the queue."""
    import_optuna().storages.fail_stale_trials(study)
