"""The cells on JAX and on PyTorch, without TensorFlow: they equal what they are on TensorFlow.

JAX gets an environment of its own, with nothing in it but JAX, Keras and NumPy, kept in pytest's cache from
run to run. PyTorch is the one beside the tests, in a process that cannot import TensorFlow. Each runs
`backend_check.py`.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import venv

import keras
import numpy as np
import pytest
from backend_check import MAIN, answers

import keras_gates

HERE = pathlib.Path(__file__).parent
PACKAGE = pathlib.Path(keras_gates.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the others are compared with the TensorFlow backend"
)


@pytest.fixture(scope="module")
def on_tensorflow():
    return answers()


WITHOUT_TENSORFLOW = """
import runpy, sys
sys.modules["tensorflow"] = None  # cannot be imported
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def answers_on(backend, python, folder):
    """What `backend_check.py` finds in another process, which cannot import TensorFlow."""
    out = folder / f"{backend}.npz"
    done = subprocess.run(
        [python, "-c", WITHOUT_TENSORFLOW, HERE / "backend_check.py", out],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        return dict(arrays)


OTHERS = ["attention", "pooling", "crf", "positions", "dropped_weights", "writing"]


def python_with_jax(cache):
    """The interpreter of an environment with JAX and without TensorFlow, made on first use."""
    folder = cache.mkdir(f"jax-keras{keras.__version__}-py{sys.version_info.major}{sys.version_info.minor}")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    complete = folder / "complete"
    if not complete.exists():
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "jax", f"keras=={keras.__version__}", "numpy"]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"pip could not install JAX: {done.stderr.strip().splitlines()[-1]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        complete.touch()
    return python


@pytest.fixture(scope="module")
def on_jax(request, tmp_path_factory):
    python = python_with_jax(request.config.cache)
    absent = "import importlib.util as u, sys; sys.exit(u.find_spec('tensorflow') is not None)"
    assert subprocess.run([python, "-c", absent], check=False).returncode == 0, "TensorFlow is there"
    return answers_on("jax", python, tmp_path_factory.mktemp("jax"))


@pytest.fixture(scope="module")
def on_torch(tmp_path_factory):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    return answers_on("torch", sys.executable, tmp_path_factory.mktemp("torch"))


def assert_equal_answers(row, ours, theirs):
    names = [name for name in ours if name.startswith(f"{row}/")]
    assert names and set(ours) == set(theirs)
    for name in names:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_layers_start_from_the_weights_of_keras(on_tensorflow):
    """And so on the other backends, whose answers are compared with these."""
    found = [value for name, value in on_tensorflow.items() if name.endswith("starts as in Keras")]
    assert len(found) == 3 and np.all(found)


def test_dropped_weights_are_those_of_the_mask(on_tensorflow):
    """And so on the other backends, whose answers are compared with these."""
    found = [value for name, value in on_tensorflow.items() if name.startswith("dropped_weights/")]
    assert len(found) == 12 and np.all(found)


@pytest.mark.parametrize("row", [*MAIN, *OTHERS], ids=str)
def test_jax_without_tensorflow(row, on_tensorflow, on_jax):
    assert_equal_answers(row, on_tensorflow, on_jax)


@pytest.mark.parametrize("row", [*MAIN, *OTHERS], ids=str)
def test_torch_without_tensorflow(row, on_tensorflow, on_torch):
    assert_equal_answers(row, on_tensorflow, on_torch)
