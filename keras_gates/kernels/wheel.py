"""Kernels inside a wheel of this package, for machines without a compiler."""

import importlib
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

from keras_gates import _files
from keras_gates.kernels import build

# The C++ runtime goes into each library, hidden from others, and only what is used of it: so the version of
# the C library says where it runs. What it needs of libgcc_s is older than any of those.
_ALONE = ("-static-libstdc++", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections")


def write(pure, out):
    """Copy a wheel of this package and add kernels, compiled by `$CXX` or else the compiler of this machine.

    A compiler for another machine gives a wheel for that one, without the door of TensorFlow, which is linked
    to the TensorFlow of this machine. The doors are those of the frameworks that are installed here.

    Args:
        pure: the path of a wheel as `pip wheel --no-deps .` makes it.
        out: the folder to write the new one to.

    Returns:
        The new wheel's path. Its name says on which machines and with which C library it runs.

    Raises:
        BuildError: there is no compiler, or it failed, or it compiles for a machine that has no levels.
        ValueError: the wheel is for some machines only, or holds other sources of the kernels than this
            package.
        OSError: the wheel could not be read or written.
    """
    if not str(pure).endswith("-none-any.whl"):
        raise ValueError(
            f"{pure} must be a wheel for any machine, *-none-any.whl, as `pip wheel --no-deps .` makes it."
        )
    compiler = build.find_compiler()
    machine = _output(compiler, "-dumpmachine").partition("-")[0]
    if machine not in build.LEVELS:
        raise build.BuildError(
            f"{compiler} compiles for {machine}; it must be one of {', '.join(build.LEVELS)}."
        )
    with tempfile.TemporaryDirectory() as folder:
        _output(sys.executable, "-m", "wheel", "unpack", pure, "--dest", folder)
        (unpacked,) = pathlib.Path(folder).iterdir()
        package = unpacked / "keras_gates" / "kernels"
        if _contents(package / "source") != _contents(build.SOURCES):
            raise ValueError(f"{pure} holds other sources of the kernels than {build.SOURCES}.")
        libraries = _compile_all(compiler, machine, package / "prebuilt")
        _say_where_it_runs(unpacked, f"manylinux_{_glibc(libraries)}_{machine}")
        packed = pathlib.Path(folder) / "packed"
        packed.mkdir()
        _output(sys.executable, "-m", "wheel", "pack", unpacked, "--dest-dir", packed)
        (made,) = packed.iterdir()
        target = pathlib.Path(out) / made.name
        with _files.written_whole(target, "wheel", replace=True) as partial:
            shutil.copyfile(made, partial)
    return target


def doors(machine):
    """The doors for a machine: of each framework that is installed, and can be linked for it."""
    found = []
    for name in ("jax", "tensorflow"):
        try:
            part = importlib.import_module(f"keras_gates.kernels.on_{name}").part()
        except ImportError as error:
            print(f"without the door of {name}: {error}")
            continue
        if part.link_flags and machine != platform.machine():
            print(f"without the door of {name}: it is linked to the one of this machine")
            continue
        found.append(part)
    return found


def _compile_all(compiler, machine, folder):
    """The paths of all libraries: the core for each level but the lowest, if it has others; doors there."""
    *better, lowest = build.LEVELS[machine]
    wanted = [(build.CORE, level) for level in better or [lowest]]
    wanted += [(part, lowest) for part in doors(machine)]
    libraries = []
    for part, level in wanted:
        target = folder / level / build.prebuilt_name(part, level)
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"compiling {part.name} for {level}")
        part = part._replace(link_flags=[*part.link_flags, *_ALONE])
        build.compile_part(part, compiler, level, target)
        libraries.append(target)
    return libraries


def _glibc(libraries):
    """The oldest version of the C library that has all symbols of these: their versions stand in each."""
    needed = [v for path in libraries for v in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", path.read_bytes())]
    return "{}_{}".format(*max(tuple(map(int, version)) for version in needed))


def _say_where_it_runs(unpacked, tag):
    (about,) = unpacked.glob("*.dist-info/WHEEL")
    text = about.read_text(encoding="utf-8")
    text = text.replace("Root-Is-Purelib: true", "Root-Is-Purelib: false").replace(
        "-none-any", f"-none-{tag}"
    )
    about.write_text(text, encoding="utf-8")


def _contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _output(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or ["without a message"]
        raise build.BuildError(f"{' '.join(map(str, command))} failed ({complaint[-1]}).")
    return done.stdout
