"""Files and folders that are written completely or not at all, and checked when they are read back.

    with written_whole(path, "table", replace=True) as partial:
        partial.write_text(text)

    with written_whole(path, "model") as partial:
        partial.mkdir()
        ...  # write into the folder

The body creates either a file or a folder at `partial`.
"""

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import tempfile

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# The list of digests of a folder, in the format of sha256sum: `sha256sum --check SHA256SUMS` reads it too.
DIGESTS = "SHA256SUMS"


def check_free(path):
    """Return the path as a `pathlib.Path`, or raise a FileExistsError if it exists."""
    path = pathlib.Path(path)
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already: give a path that does not exist.")
    return path


@contextlib.contextmanager
def written_whole(path, what="file", replace=False):
    """A partial path to write to; the result is renamed to `path` at the end, or removed after an error.

    After a crash, a kill or a power failure, `path` holds either what it held before or the complete new
    result: everything is flushed to the disk before it is renamed.

    The path given to the body has the name of `path`, so that libraries which look at the suffix see the
    right one. It lies in a folder `.keras_gates-HOST-PID-….partial` beside `path`, on the same file system.
    A killed process cannot remove that folder; the next call that writes to the same parent does.

    Args:
        path: the file or folder to write. Missing parents are created.
        what: the name of the result in the error message, "The {what} could not be written to …".
        replace: whether an existing file at `path` is replaced. A folder is never replaced.

    Raises:
        FileExistsError: `path` exists, before or after the body, and `replace` is false.
        OSError: `path` could not be written (read-only, disk full, a file where the parent should be): one
            sentence that gives `path` and the reason. An OSError in the body is reported in the same way.
    """
    path = pathlib.Path(path)
    if not replace:
        check_free(path)
    with _one_sentence(path, what):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        folder, lock = _claim_folder(path.parent)
    try:
        with _one_sentence(path, what):
            yield folder / path.name
            _flush(folder / path.name)
        if not replace:
            check_free(path)
        with _one_sentence(path, what):
            os.rename(folder / path.name, path)
            _flush_entry(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def _one_sentence(path, what):
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).rstrip(".")
        raise OSError(f"The {what} could not be written to {path}: {reason}.") from error


# -- partial folders
#
# A live process is recognised by the lock (flock) that it holds on its partial folder. The kernel releases it
# when the process ends, however it ends, so a reused process id cannot be mistaken for a process that has
# ended. On a folder shared between machines such a lock may be local to a machine, or not be supported at all
# (NFS has none on folders). So a process only removes folders of its own host name whose lock it could
# acquire; this assumes that no two machines with the same host name share a folder without sharing its locks.
# Where locks are not supported, nothing is removed.

_SUFFIX = ".partial"


def _prefix():
    return f".keras_gates-{socket.gethostname()}-"


def _claim_folder(parent):
    """A new folder in `parent` and the descriptor that holds its lock, None where there are no locks."""
    while True:
        folder = pathlib.Path(
            tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", suffix=_SUFFIX, dir=parent)
        )
        lock = _lock(folder)
        if folder.exists():  # else another process removed it as a leftover before it was locked
            return folder, lock
        if lock is not None:
            os.close(lock)


def _remove_leftovers(parent):
    """Remove the partial folders in `parent` that processes of this machine left when they were killed."""
    for name in os.listdir(parent):
        if name.startswith(_prefix()) and name.endswith(_SUFFIX):
            lock = _lock(parent / name)
            if lock is not None:
                shutil.rmtree(parent / name, ignore_errors=True)
                os.close(lock)


def _lock(folder):
    """A descriptor that holds the lock on a folder; None if the lock cannot be acquired."""
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _flush(path):
    """Flush a file, or a folder and all that is in it, to the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _flush_entry(pathlib.Path(folder, name))
        _flush_entry(folder)
    if path.is_file():
        _flush_entry(path)


def _flush_entry(path):
    if os.name != "posix" or os.path.islink(path):  # Windows flushes only what is open for writing
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- digests


def write_digests(folder):
    """Write the SHA-256 of each file that is in a folder now to `SHA256SUMS` in it."""
    folder = pathlib.Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / DIGESTS).write_text("".join(lines), encoding="utf-8")


def check_digests(folder):
    """Raise a ValueError that names the first file of a folder that has changed since `write_digests`.

    Files that were added since then are ignored. A folder without `SHA256SUMS` passes.
    """
    listed = pathlib.Path(folder, DIGESTS)
    if not os.path.lexists(listed):
        return
    *lines, end = listed.read_text(encoding="utf-8").split("\n")
    if end or not lines:
        raise ValueError(f"{DIGESTS} is cut short.")
    for line in lines:
        digest, _, name = line.partition("  ")
        path = pathlib.PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{DIGESTS} is not a list of digests.")
        if not pathlib.Path(folder, path).is_file():
            raise ValueError(f"{name} is missing.")
        if _sha256(pathlib.Path(folder, path)) != digest:
            raise ValueError(f"{name} is not as it was written.")


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
