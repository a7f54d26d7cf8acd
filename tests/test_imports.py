"""The contract of `.importlinter`: it is kept, and it is broken by what it should forbid."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
FORBIDDEN = {
    "a cell imports a layer": ("keras_gates/cells/base.py", "import keras_gates.layers.rnn"),
    "a function imports upwards": ("keras_gates/layers/rnn.py", "def f():\n    import keras_gates.serving"),
    "a cycle between modules": ("keras_gates/kernels/cells.py", "import keras_gates.kernels.operation"),
    "the package imports experiments": ("keras_gates/cells/gru.py", "import experiments.common.words"),
    "common imports a task": ("experiments/common/words.py", "import experiments.tagging.network"),
    "a tool imports a task": ("experiments/inspect/look.py", "import experiments.tagging.network"),
    "a task imports another": ("experiments/sentiment/network.py", "import experiments.tagging.network"),
    "a package in no layer": ("keras_gates/new/__init__.py", ""),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / ".importlinter", copy)
    for package in ("keras_gates", "experiments"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def lint(folder):
    return subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contract_is_kept(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(("name", "line"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_contract_is_broken_by(copy, name, line):
    path = copy / name
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        done = lint(copy)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 broken" in done.stdout or "2 broken" in done.stdout, done.stdout
