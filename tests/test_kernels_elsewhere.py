"""The fused kernels on JAX and on PyTorch, without TensorFlow: each check of `kernel_check.py`.

And those of `loop_check.py`, of the loops that take their place on JAX beside a GPU; here they run on a CPU.

The environments are those of `test_backends.py`: one with JAX, and the one beside the tests if PyTorch is
there, which is not among the requirements of the tests.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import keras
import pytest
from kernel_check import CHECKS, ONLY
from loop_check import CHECKS as LOOP_CHECKS
from test_backends import HERE, PACKAGE, WITHOUT_TENSORFLOW, python_with_jax

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts the others from TensorFlow's"),
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("c++"), reason="this machine has no kernels"
    ),
]


def outcomes_on(backend, python, folder, script="kernel_check.py"):
    """What became of each check, in another process, which cannot import TensorFlow."""
    out = folder / "outcomes.json"
    done = subprocess.run(
        [python, "-c", WITHOUT_TENSORFLOW, HERE / script, out],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def on_jax(request, tmp_path_factory):
    return outcomes_on("jax", python_with_jax(request.config.cache), tmp_path_factory.mktemp("jax"))


@pytest.fixture(scope="module")
def on_torch(tmp_path_factory):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    return outcomes_on("torch", sys.executable, tmp_path_factory.mktemp("torch"))


@pytest.fixture(scope="module")
def of_loops(request, tmp_path_factory):
    python = python_with_jax(request.config.cache)
    return outcomes_on("jax", python, tmp_path_factory.mktemp("loops"), "loop_check.py")


@pytest.mark.parametrize("name", LOOP_CHECKS)
def test_loops_beside_a_gpu(name, of_loops):
    assert not of_loops[name], of_loops[name]


@pytest.mark.parametrize("name", [name for name in CHECKS if ONLY.get(name) != "torch"])
def test_kernels_on_jax(name, on_jax):
    assert not on_jax[name], on_jax[name]


@pytest.mark.parametrize("name", [name for name in CHECKS if ONLY.get(name) != "jax"])
def test_kernels_on_torch(name, on_torch):
    assert not on_torch[name], on_torch[name]
