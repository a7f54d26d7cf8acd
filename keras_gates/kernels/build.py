"""Gets the kernels for the local machine, once, and caches them: from the package, or built now.

The core, which knows no framework, is one library; what a framework needs to call it, its door, is another.
A wheel may bring both, compiled for the levels of processors in `LEVELS` (`keras_gates.kernels.wheel`).
"""

import contextlib
import functools
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
    "-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    "-fPIC", "-pthread", "-fvisibility=hidden",
]  # fmt: skip
PREBUILT = pathlib.Path(__file__).parent / "prebuilt"  # in it, a folder for each level
# By machine, the best level first: what a processor needs for it besides what the next one needs, in the
# words of /proc/cpuinfo. For x86-64 they are those of its psABI; `abm` stands for lzcnt, `pni` for SSE3.
# `+NAME` adds instructions that no level of it has.
LEVELS = {
    "x86_64": {
        "x86-64-v4+avx512bf16": "avx512_bf16",
        "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
        "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave "
        "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
        "x86-64": "",
    },
    "aarch64": {"armv8-a": ""},
}
_DIGEST = hashlib.sha256().digest_size
_TIME_LIMIT = 600  # seconds for one file


class Part(NamedTuple):
    """A library to build: the core, the door of a framework, or the user's own cells.

    `about` is what a cached one must fit besides sources, flags and processor: the framework's version;
    `interface` is what is enough for one that was built elsewhere. The folders `includes` are searched for
    headers; their paths say nothing about what stands in them.
    """

    name: str
    sources: Sequence[pathlib.Path]
    flags: Sequence[str] = ()
    includes: Sequence[str] = ()
    link_flags: Sequence[str] = ()
    about: Sequence[Any] = ()
    interface: Sequence[Any] = ()


CORE = Part("core", sorted(SOURCES.glob("*.cc")))


class BuildError(Exception):
    """The kernels are unavailable; the message is one sentence that says why."""


def own_cells():
    """The library of the user's own cells, in the header that `$KERAS_GATES_CELLS` names; None without one.

    It is a core with these cells in the place of the package's: so it is compiled in seconds.

    Raises:
        BuildError: there is no such file.
    """
    chosen = os.environ.get("KERAS_GATES_CELLS")
    if not chosen:
        return None
    header = pathlib.Path(chosen).resolve()
    if not header.is_file():
        raise BuildError(f"KERAS_GATES_CELLS must be the path of a header; there is no file {chosen!r}.")
    read = sorted({header, *header.parent.glob("*.h")})  # it may include those beside it
    return Part(
        "cells",
        CORE.sources,
        flags=[f'-DKERAS_GATES_CELLS="{header}"'],
        includes=[str(SOURCES)],
        about=[(path.name, path.read_bytes()) for path in read],
    )


def load(part, load_and_test, load_only):
    """The library of a part of the kernels: from the cache, or prebuilt, or built now.

    An intact cached library is used without a compiler. One that does not load is replaced: by the first
    intact one of `PREBUILT` that loads, else by compiling.

    Args:
        part: which library, a `Part`.
        load_and_test: called with the path of a new library before it enters the cache;
            returns the library, or raises a `BuildError`.
        load_only: called with the path of a library that has been tested before; returns the library, or
            raises an `OSError`.

    Raises:
        BuildError: there is neither a prebuilt library nor a compiler, or no folder to build in, or the build
            failed, or the test of a library, or other users can write to the cache.
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
        with _only_one(kept.with_suffix(".lock")):
            library = _kept_library(kept, load_only)  # another process may have put it there meanwhile
            return _new_library(part, kept, load_and_test) if library is None else library
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


def find_compiler():
    """The path of a C++ compiler. Raises a `BuildError` if there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = name and shutil.which(name)
        if found:
            return found
    raise BuildError(
        "no C++ compiler found (looked for $CXX, g++, clang++, c++), and no prebuilt kernels that fit."
    )


def levels():
    """The levels of `LEVELS` that this processor has, best first, up to `$KERAS_GATES_LEVEL` if that is set.

    Raises:
        BuildError: that is none of the levels of this machine.
    """
    known = LEVELS.get(platform.machine(), {})
    limit = os.environ.get("KERAS_GATES_LEVEL")
    if limit and limit not in known:
        raise BuildError(f"KERAS_GATES_LEVEL must be one of {', '.join(known)}; got {limit!r}.")
    has, found = _processor().split(), []
    for level, needs in reversed(known.items()):
        if not set(needs.split()) <= set(has):
            break
        found.insert(0, level)
        if level == limit:
            break
    return found


def _architecture():
    """What `-march` says where the kernels are built for this machine."""
    return levels()[0] if os.environ.get("KERAS_GATES_LEVEL") else "native"


def file_name(part):
    """The name of a part in the cache, with a hash of what it must fit: sources, processor, framework.

    The compiler is left out: a library is also used where there is none, and replaced if it does not load.
    """
    return _name(part, [_architecture(), *part.about, _processor()])


def prebuilt_name(part, level):
    """The name of a part's library for a level in a wheel, with a hash of what it must fit."""
    return _name(part, [level, *part.interface])


def _name(part, about):
    digest = hashlib.sha256()
    headers = SOURCES.glob("*.h")
    for path in sorted({*CORE.sources, *headers, *part.sources}):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(repr([*FLAGS, *about]).encode())
    return f"kernels-{part.name}-{digest.hexdigest()[:32]}.so"


def _processor():
    """The properties of the processor on which the choice of instructions depends."""
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
    if not _is_intact(path):
        return None
    try:
        return load_only(path)
    except OSError as error:
        _log.info("%s does not load: %s", path, error)
        return None


def _is_intact(path):
    """Whether the digest at the end of a library is that of what stands before it."""
    data = path.read_bytes()
    return len(data) > _DIGEST and hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]


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


def _new_library(part, kept, load_and_test):
    for level in levels():
        prebuilt = PREBUILT / level / prebuilt_name(part, level)
        if not prebuilt.is_file() or not _is_intact(prebuilt):
            continue
        try:
            return _admit(kept, load_and_test, functools.partial(shutil.copyfile, prebuilt))
        except OSError as error:
            _log.info("%s does not load: %s", prebuilt, error)
    compiler = find_compiler()
    _log.info("building the fused kernels for this machine, once: %s", kept)
    return _admit(kept, load_and_test, functools.partial(compile_part, part, compiler, _architecture()))


def _admit(kept, load_and_test, make):
    """Put a library into the cache after its test; `make(path)` makes it."""
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        beside = pathlib.Path(folder) / kept.name
        make(beside)
        beside.chmod(0o644)
        library = load_and_test(beside)
        os.replace(beside, kept)
    return library


def compile_part(part, compiler, architecture, target):
    """Compile a part for a level, or "native"; the digest stands at the end of the library.

    Raises:
        BuildError: the compiler failed; the message gives its first complaint.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = [pathlib.Path(folder) / f"{source.stem}.o" for source in part.sources]
        level, *more = architecture.split("+")
        machine = [f"-march={level}", *(f"-m{name}" for name in more)]
        flags = [*FLAGS, *machine, *part.flags, *(f"-I{include}" for include in part.includes)]
        pairs = zip(part.sources, objects, strict=True)
        _run_together([[compiler, *flags, "-c", source, "-o", to] for source, to in pairs])
        _run_together([[compiler, "-shared", "-pthread", *objects, "-o", target, *part.link_flags]])
    data = target.read_bytes()
    target.write_bytes(data + hashlib.sha256(data).digest())


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
