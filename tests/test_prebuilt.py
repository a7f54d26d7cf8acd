"""Kernels that came with the package: which are taken, and when none are."""

import platform
import shutil
import subprocess

import pytest

from keras_gates.kernels import build

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="kernels are for Linux")

OLD = (
    "model name\t: Intel(R) Xeon(R) CPU E5-2670 v2 @ 2.50GHz\n"
    "flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse "
    "sse2 ht syscall nx rdtscp lm constant_tsc rep_good nopl pni pclmulqdq ssse3 cx16 sse4_1 sse4_2 x2apic "
    "popcnt aes xsave avx f16c rdrand hypervisor lahf_lm fsgsbase smep erms xsaveopt"
)
HASWELL = OLD.replace("E5-2670 v2", "E5-2670 v3") + " fma movbe abm bmi1 bmi2 avx2 invpcid"
KNIGHTS_LANDING = HASWELL.replace("E5-2670 v3", "Phi 7210") + " avx512f avx512pf avx512er avx512cd"
SKYLAKE = (
    HASWELL.replace("E5-2670 v3", "Gold 6148")
    + " avx512f avx512dq clflushopt clwb avx512cd avx512bw avx512vl"
)
ZEN_4 = SKYLAKE.replace("Intel(R) Xeon(R) CPU Gold 6148", "AMD EPYC 9354") + " avx512_bf16 avx512_vnni"
GRAVITON = """Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm
CPU implementer	: 0x41
CPU part	: 0xd0c"""


@pytest.fixture
def processor(monkeypatch):
    """Set this process upon a processor."""

    def be(cpuinfo, machine="x86_64"):
        monkeypatch.setattr(build, "_processor", lambda: cpuinfo)
        monkeypatch.setattr(platform, "machine", lambda: machine)

    monkeypatch.delenv("KERAS_GATES_LEVEL", raising=False)
    return be


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "levels"),
    [
        (OLD, "x86_64", ["x86-64"]),
        (HASWELL, "x86_64", ["x86-64-v3", "x86-64"]),
        (KNIGHTS_LANDING, "x86_64", ["x86-64-v3", "x86-64"]),
        (SKYLAKE, "x86_64", ["x86-64-v4", "x86-64-v3", "x86-64"]),
        (ZEN_4, "x86_64", ["x86-64-v4+avx512bf16", "x86-64-v4", "x86-64-v3", "x86-64"]),
        (GRAVITON, "aarch64", ["armv8-a"]),
        ("", "x86_64", ["x86-64"]),
        ("", "riscv64", []),
    ],
    ids=["old", "haswell", "knights landing", "skylake", "zen 4", "graviton", "unknown", "other machine"],
)
def test_the_levels_of_a_processor(cpuinfo, machine, levels, processor):
    processor(cpuinfo, machine)
    assert build.levels() == levels


@pytest.mark.skipif(platform.machine() != "x86_64" or not shutil.which("g++"), reason="asks g++ on x86-64")
def test_the_levels_of_this_processor_are_those_that_the_compiler_finds(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_GATES_LEVEL", raising=False)
    asked = ["x86-64-v3", "x86-64-v4"]
    lines = "".join(f'if (__builtin_cpu_supports("{level}")) std::puts("{level}");' for level in asked)
    (tmp_path / "ask.cc").write_text(f"#include <cstdio>\nint main() {{ __builtin_cpu_init(); {lines} }}\n")
    subprocess.run(["g++", tmp_path / "ask.cc", "-o", tmp_path / "ask"], check=True)
    answer = subprocess.run([tmp_path / "ask"], capture_output=True, text=True, check=True).stdout.split()
    assert set(build.levels()) & set(asked) == set(answer)


def test_a_variable_limits_the_level(processor, monkeypatch):
    processor(SKYLAKE)
    monkeypatch.setenv("KERAS_GATES_LEVEL", "x86-64-v3")
    assert build.levels() == ["x86-64-v3", "x86-64"]
    monkeypatch.setenv("KERAS_GATES_LEVEL", "avx2")
    with pytest.raises(build.BuildError, match=r"x86-64-v4, x86-64-v3, x86-64; got 'avx2'"):
        build.levels()


def test_a_level_that_the_processor_lacks_is_not_given_by_the_variable(processor, monkeypatch):
    processor(HASWELL)
    monkeypatch.setenv("KERAS_GATES_LEVEL", "x86-64-v4")
    assert build.levels() == ["x86-64-v3", "x86-64"]


# -- taking one


@pytest.fixture
def part(tmp_path, monkeypatch, processor):
    """A part on a machine without a compiler, with an empty cache and without prebuilt libraries."""
    source = tmp_path / "part.cc"
    source.write_text("int one() { return 1; }\n")
    monkeypatch.setattr(build, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.setenv("KERAS_GATES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", "")
    processor(SKYLAKE)
    return build.Part("part", [source], about=["2.21.1"], interface=["2", "21"])


def put(part, level, content=None):
    """A prebuilt library, which says what it is for; returns its path."""
    path = build.PREBUILT / level / build.prebuilt_name(part, level)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = (content or level).encode()
    path.write_bytes(body + build.hashlib.sha256(body).digest())
    return path


def read(path):
    """Loads a library: what it says that it is for."""
    text = path.read_bytes()[:-32].decode()
    if text == "no library":
        raise OSError("it is no library")
    return text


def load(part):
    return build.load(part, read, read)


def test_the_best_level_is_taken(part, processor):
    for level in build.LEVELS["x86_64"]:
        put(part, level)
    assert load(part) == "x86-64-v4"
    processor(HASWELL)
    assert load(part) == "x86-64-v3"
    processor(OLD)
    assert load(part) == "x86-64"


def test_a_limit_holds_for_what_the_cache_has_already(part, monkeypatch):
    put(part, "x86-64-v4"), put(part, "x86-64-v3")
    assert load(part) == "x86-64-v4"
    monkeypatch.setenv("KERAS_GATES_LEVEL", "x86-64-v3")
    assert load(part) == "x86-64-v3"


def test_it_is_tested_once_and_then_cached(part):
    path, tested = put(part, "x86-64-v3"), []
    assert build.load(part, lambda new: tested.append(new) or read(new), read) == "x86-64-v3"
    path.unlink()
    assert build.load(part, lambda new: tested.append(new) or read(new), read) == "x86-64-v3"
    assert len(tested) == 1


def test_one_that_fails_its_test_is_not_used(part):
    put(part, "x86-64-v4"), put(part, "x86-64-v3")

    def fail(_):
        raise build.BuildError("their self-test failed")

    for _ in range(2):
        with pytest.raises(build.BuildError, match="self-test"):
            build.load(part, fail, read)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_one_is_not_used(part, damage):
    path = put(part, "x86-64-v4")
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-1], "changed": b"X" + whole[1:], "empty": b""}[damage])
    with pytest.raises(build.BuildError, match="no prebuilt kernels that fit"):
        load(part)
    put(part, "x86-64-v3")
    assert load(part) == "x86-64-v3"


def test_one_that_does_not_load_gives_way_to_the_next(part):
    put(part, "x86-64-v4", "no library")
    put(part, "x86-64-v3")
    assert load(part) == "x86-64-v3"


@pytest.mark.parametrize("change", ["source", "framework"])
def test_one_of_other_sources_or_for_another_framework_is_not_used(part, change):
    put(part, "x86-64-v4")
    if change == "source":
        part.sources[0].write_text("int two() { return 2; }\n")
    else:
        part = part._replace(about=["2.22.0"], interface=["2", "22"])
    with pytest.raises(build.BuildError, match="no prebuilt kernels that fit"):
        load(part)


def test_one_is_used_with_another_patch_of_the_framework(part):
    put(part, "x86-64-v4")
    assert load(part._replace(about=["2.21.0"])) == "x86-64-v4"
