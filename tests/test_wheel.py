"""What is installed: the package whole, and nothing else but the kernels that were added."""

import base64
import csv
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", reason="it builds the wheel")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tracked():
    """The names of the files that are in the repository."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in done.stdout.split("\0") if name]
    if not names:
        pytest.skip("not a clone")
    return names


@pytest.fixture(scope="module")
def pure(tracked, tmp_path_factory):
    """The wheel, built from the files in the repository, in an environment that reaches no network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in tracked:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"),
            *("--quiet", "--wheel-dir", str(folder), str(source)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_package_whole_and_nothing_else(pure, tracked):
    names = set(zipfile.ZipFile(pure).namelist())
    package = {name for name in names if ".dist-info/" not in name}
    assert package == {name for name in tracked if name.startswith("keras_gates/")}
    for kind in ("py.typed", ".pyi", ".html", ".h", ".cc"):
        assert any(name.endswith(kind) for name in package), kind


# -- with kernels

needs_compiler = pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("g++") or not shutil.which("readelf"),
    reason="compiles with g++ for x86-64 and reads with readelf",
)


LEVELS = ("x86-64-v3", "x86-64-v4", "x86-64-v4+avx512bf16")


@pytest.fixture(scope="module")
def with_kernels(pure, tmp_path_factory):
    """The wheel with libraries of a single function, which needs a symbol of some age."""
    pytest.importorskip("wheel", reason="it packs the wheel")
    from keras_gates.kernels import build, wheel

    folder = tmp_path_factory.mktemp("with_kernels")
    source = folder / "threads.cc"
    source.write_text('#include <thread>\nextern "C" void run() { std::thread([] {}).join(); }\n')
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(build, "CORE", build.Part("core", [source]))
        monkeypatch.setattr(wheel, "doors", lambda machine: [])
        monkeypatch.setenv("CXX", "g++")
        return wheel.write(pure, folder / "out")


@needs_compiler
def test_kernels_are_added_for_each_level_and_nothing_else_changes(pure, with_kernels):
    before, after = zipfile.ZipFile(pure), zipfile.ZipFile(with_kernels)
    added = sorted(set(after.namelist()) - set(before.namelist()))
    folders = [str(Path(name).parent) for name in added]
    assert sorted(folders) == [f"keras_gates/kernels/prebuilt/{level}" for level in LEVELS]
    assert set(before.namelist()) <= set(after.namelist())
    for name in before.namelist():
        if not name.endswith(("/WHEEL", "/RECORD")):
            assert after.read(name) == before.read(name), name


@needs_compiler
def test_the_record_lists_every_file_with_its_digest(with_kernels):
    archive = zipfile.ZipFile(with_kernels)
    (record,) = (name for name in archive.namelist() if name.endswith("/RECORD"))
    rows = {
        name: (digest, size) for name, digest, size in csv.reader(archive.read(record).decode().splitlines())
    }
    assert set(rows) == set(archive.namelist())
    for name, (digest, size) in rows.items():
        if name != record:
            data = archive.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={found}", str(len(data))), name


@needs_compiler
def test_its_name_says_which_c_library_it_needs_and_it_needs_no_other_runtime(with_kernels, tmp_path):
    """Asked of readelf. One that needed the C++ runtime would need one of its age, which no name says."""
    oldest, needed = (0, 0), set()
    for name in zipfile.ZipFile(with_kernels).namelist():
        if name.endswith(".so"):
            path = zipfile.ZipFile(with_kernels).extract(name, tmp_path)
            text = subprocess.run(
                ["readelf", "--wide", "--version-info", "--dynamic", path],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", text)
            oldest = max(oldest, *(tuple(map(int, version)) for version in versions))
            needed |= set(re.findall(r"\(NEEDED\).*\[(.*)\]", text))
    assert with_kernels.name.endswith("-py3-none-manylinux_{}_{}_x86_64.whl".format(*oldest))
    assert "libc.so.6" in needed
    assert not {name for name in needed if "stdc++" in name}
    (about,) = (name for name in zipfile.ZipFile(with_kernels).namelist() if name.endswith("/WHEEL"))
    lines = zipfile.ZipFile(with_kernels).read(about).decode().splitlines()
    assert "Root-Is-Purelib: false" in lines
    assert [line for line in lines if line.startswith("Tag")] == [
        f"Tag: {with_kernels.stem.partition('-')[2].partition('-')[2]}"
    ]


@needs_compiler
def test_it_is_installed_and_its_package_finds_the_libraries(with_kernels, tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site]
    subprocess.run([*install, with_kernels], check=True)
    folder = site / "keras_gates" / "kernels" / "prebuilt"
    assert len(list(folder.glob("*/kernels-core-*.so"))) == len(LEVELS)


@needs_compiler
@pytest.mark.parametrize("wrong", ["platform", "sources", "absent"])
def test_a_wheel_that_does_not_fit_is_refused_in_a_sentence(wrong, pure, tmp_path):
    pytest.importorskip("wheel", reason="it packs the wheel")
    from keras_gates.kernels import build, wheel

    given, out = tmp_path / pure.name, tmp_path / "out"
    if wrong == "platform":
        given = given.with_name(pure.name.replace("-any.", "-linux_x86_64."))
    if wrong == "sources":
        with zipfile.ZipFile(pure) as old, zipfile.ZipFile(given, "w") as new:
            for name in old.namelist():
                if not name.endswith("source/cells.h"):
                    new.writestr(name, old.read(name))
    error = {"platform": ValueError, "sources": ValueError, "absent": build.BuildError}[wrong]
    words = {"platform": "for any machine", "sources": "other sources", "absent": "No such file"}[wrong]
    with pytest.raises(error, match=words):
        wheel.write(given, out)
    assert not out.exists()
