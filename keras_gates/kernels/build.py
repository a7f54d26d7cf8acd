"""Compiles the kernels for the local machine, once, and caches them.

The core, which knows no framework, is one library; what a framework needs to call it, its door, is another.
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

_log = logging.getLogger("keras_gates")

SOURCES = pathlib.Path(__file__).parent / "source"
# NaN and infinity must be preserved, so no -ffast-math; the parts of it used here only affect rounding.
FLAGS = [
    "-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    "-fPIC", "-pthread", "-fvisibility=hidden",
]  # fmt: skip
_DIGEST = hashlib.sha256().digest_size
_TIME_LIMIT = 600  # seconds for one file


class Part(NamedTuple):
    """A library to build: the core, or the door of a framework.

    `about` is what it must fit besides sources, flags and processor: the framework's version. The folders
    `includes` are searched for headers; their paths say nothing about what stands in them.
    """

    name: str
    sources: Sequence[pathlib.Path]
    flags: Sequence[str] = ()
    includes: Sequence[str] = ()
    link_flags: Sequence[str] = ()
    about: Sequence[Any] = ()


CORE = Part("core", sorted(SOURCES.glob("*.cc")))


class BuildError(Exception):
    """The kernels are unavailable; the message is one sentence that says why."""


def load(part, load_and_test, load_only):
    """The library of a part of the kernels, from the cache or built now.

    An intact cached library is used without a compiler. One that does not load is built again.

    Args:
        part: which library, a `Part`.
        load_and_test: called with the path of a new library before it enters the cache;
            returns the library, or raises a `BuildError`.
        load_only: called with the path of a library that has been tested before; returns the library, or
            raises an `OSError`.

    Raises:
        BuildError: there is no compiler, or no folder to build in, or the build or its test failed, or other
            users can write to the cache.
    """
    if platform.system() != "Linux":
        raise BuildError(f"they are built on Linux only, and this is {platform.system()}.")
    try:
        folder = cache_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_what_others_can_change(folder)
        kept = folder / file_name(part)
        library = _kept_library(kept, load_only)
        if library is not None:
            return library
        compiler = _compiler()
        with _only_one(kept.with_suffix(".lock")):
            library = _kept_library(kept, load_only)  # another process may have built it meanwhile
            return _build(part, compiler, kept, load_and_test) if library is None else library
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise BuildError(f"building them failed ({error}).") from error


def cache_folder():
    """`$KERAS_GATES_CACHE`, or a folder among the user's caches."""
    chosen = os.environ.get("KERAS_GATES_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "keras_gates"


def _refuse_what_others_can_change(path):
    """A library is code: what another user may have written must not run here. Root is trusted."""
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BuildError(
            f"other users can change {path} (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}); "
            "make it writable by you alone (chmod go-w), or set KERAS_GATES_CACHE to a folder of your own."
        )


def _compiler():
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = name and shutil.which(name)
        if found:
            return found
    raise BuildError("no C++ compiler found (looked for $CXX, g++, clang++, c++).")


def file_name(part):
    """The name of a part's library, with a hash of what it must fit: sources, flags, processor, framework.

    The compiler is left out: a library is also used where there is none, and rebuilt if it does not load.
    """
    digest = hashlib.sha256()
    headers = SOURCES.glob("*.h")
    for path in sorted({*CORE.sources, *headers, *part.sources}):
        digest.update(path.name.encode() + path.read_bytes())
    about = [*FLAGS, *part.flags, *part.about]
    digest.update(repr(about).encode() + _processor().encode())
    return f"kernels-{part.name}-{digest.hexdigest()[:32]}.so"


def _processor():
    """The properties of the processor on which `-march=native` depends."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        first = info.read().split("\n\n")[0].splitlines()
        wanted = ("model name", "flags", "CPU implementer", "CPU part", "Features")
        return "\n".join(line for line in first if line.startswith(wanted))
    return platform.processor()


def _kept_library(path, load_only):
    """The library in the cache; None if there is none, or it is damaged or does not load."""
    if path.is_symlink() or not path.is_file():
        return None
    _refuse_what_others_can_change(path)
    data = path.read_bytes()
    if len(data) <= _DIGEST or hashlib.sha256(data[:-_DIGEST]).digest() != data[-_DIGEST:]:
        return None
    try:
        return load_only(path)
    except OSError as error:
        _log.info("%s does not load: %s", path, error)
        return None


@contextlib.contextmanager
def _only_one(path):
    """Admits one process at a time. The system releases the lock of a process that dies."""
    import fcntl  # not on every system, but on all that get this far

    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _build(part, compiler, kept, load_and_test):
    _log.info("building the fused kernels for this machine, once: %s", kept)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        beside = pathlib.Path(folder) / kept.name
        _compile(part, compiler, pathlib.Path(folder), beside)
        data = beside.read_bytes()
        beside.write_bytes(data + hashlib.sha256(data).digest())
        beside.chmod(0o644)
        library = load_and_test(beside)
        os.replace(beside, kept)
    return library


def _compile(part, compiler, folder, target):
    objects = [folder / f"{source.stem}.o" for source in part.sources]
    flags = [*FLAGS, *part.flags, *(f"-I{include}" for include in part.includes)]
    _run_together([[compiler, *flags, "-c", a, "-o", b] for a, b in zip(part.sources, objects, strict=True)])
    _run_together([[compiler, "-shared", "-pthread", *objects, "-o", target, *part.link_flags]])


def _run_together(commands):
    running = [
        subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for c in commands
    ]
    complaints = []
    try:
        for process in running:
            _, complaint = process.communicate(timeout=_TIME_LIMIT)
            if process.returncode:
                complaints.append(complaint)
    finally:
        for process in running:
            process.kill()
            process.wait()
    if complaints:
        lines = complaints[0].splitlines()
        reasons = [line for line in lines if "error" in line] or lines or ["without a message"]
        raise BuildError(f"the compiler failed ({reasons[0]}).")
