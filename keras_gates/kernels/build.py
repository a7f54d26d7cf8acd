"""Compiles the kernels for the machine at hand, once, and keeps them."""

import contextlib
import hashlib
import logging
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

import tensorflow as tf

_log = logging.getLogger("keras_gates")

SOURCES = pathlib.Path(__file__).parent / "source"
# NaN and infinity must survive, so no -ffast-math; what is left of it changes rounding at most.
FLAGS = [
    "-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    "-fPIC", "-pthread", "-fvisibility=hidden",
]  # fmt: skip
_DIGEST = hashlib.sha256().digest_size
_TIME_LIMIT = 600  # seconds for one file


class BuildError(Exception):
    """Why there are no kernels, in a sentence."""


def load(load_and_test, load_only):
    """The kernels' library, from the cache or built now.

    Args:
        load_and_test: called with the path of a new library before it enters the cache;
            returns the library, or raises a `BuildError`.
        load_only: called with the path of a library that has been tested before.

    Raises:
        BuildError: there is no compiler, or no place to build, or the build or its test failed.
    """
    compiler = _compiler()
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / f"kernels-{_key(compiler)}.so"
        if _is_sound(kept):
            return load_only(kept)
        with _only_one(kept.with_suffix(".lock")):
            if _is_sound(kept):  # another process built it meanwhile
                return load_only(kept)
            return _build(compiler, kept, load_and_test)
    except (OSError, RuntimeError, subprocess.SubprocessError, tf.errors.OpError) as error:
        raise BuildError(f"building them failed ({error}).") from error


def cache_folder():
    """`$KERAS_GATES_CACHE`, or a folder among the user's caches."""
    chosen = os.environ.get("KERAS_GATES_CACHE")
    if chosen:
        return pathlib.Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "keras_gates"


def _compiler():
    if platform.system() != "Linux":
        raise BuildError(f"they are built on Linux only, and this is {platform.system()}.")
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        found = name and shutil.which(name)
        if found:
            return found
    raise BuildError("no C++ compiler found (looked for $CXX, g++, clang++, c++).")


def _key(compiler):
    """Names everything that a library depends on: sources, flags, compiler, TensorFlow and processor."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    about = [*FLAGS, *tf.sysconfig.get_compile_flags(), tf.version.VERSION, tf.version.GIT_VERSION]
    digest.update(repr(about).encode() + version + _processor().encode())
    return digest.hexdigest()[:32]


def _processor():
    """What `-march=native` goes by."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        first = info.read().split("\n\n")[0].splitlines()
        wanted = ("model name", "flags", "CPU implementer", "CPU part", "Features")
        return "\n".join(line for line in first if line.startswith(wanted))
    return platform.processor()


def _is_sound(path):
    """Whether a kept library is whole: it ends in the digest of what comes before."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    return len(data) > _DIGEST and hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]


@contextlib.contextmanager
def _only_one(path):
    """Lets one process at a time through. The system lets go of the lock of a process that dies."""
    import fcntl  # not on every system, but on all that get this far

    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(compiler, kept, load_and_test):
    _log.info("building the fused kernels for this machine, once: %s", kept)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        beside = pathlib.Path(folder) / kept.name
        _compile(compiler, pathlib.Path(folder), beside)
        data = beside.read_bytes()
        beside.write_bytes(data + hashlib.sha256(data).digest())
        library = load_and_test(beside)
        os.replace(beside, kept)
    return library


def _compile(compiler, folder, target):
    sources = sorted(SOURCES.glob("*.cc"))
    objects = [folder / f"{source.stem}.o" for source in sources]
    flags = [*FLAGS, *tf.sysconfig.get_compile_flags()]
    commands = [
        [compiler, *flags, "-c", str(source), "-o", str(made)]
        for source, made in zip(sources, objects, strict=True)
    ]
    _run_together(commands)
    _run_together(
        [
            [
                compiler,
                "-shared",
                "-pthread",
                *map(str, objects),
                "-o",
                str(target),
                *tf.sysconfig.get_link_flags(),
            ]
        ]
    )


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
        errors = [line for line in complaints[0].splitlines() if "error" in line] or complaints[
            0
        ].splitlines()
        raise BuildError(f"the compiler failed ({errors[0] if errors else 'without a word'}).")
