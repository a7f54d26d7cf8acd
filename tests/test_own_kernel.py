"""A kernel that a user adds: what is built of it, what it does in TensorFlow, what becomes of a wrong one.

`kernel_check.py` has what it must do on JAX and on PyTorch.
"""

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from own_kernel import write_header

from keras_gates.kernels import build, core, operation

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or not shutil.which("c++"), reason="this machine has no kernels"
)


@pytest.fixture
def header(tmp_path, monkeypatch):
    path = write_header(tmp_path)
    monkeypatch.setenv("KERAS_GATES_CELLS", str(path))
    return path


def test_there_is_nothing_to_build_without_a_header(monkeypatch):
    monkeypatch.delenv("KERAS_GATES_CELLS", raising=False)
    assert build.own_cells() is None


def test_a_library_is_for_the_text_of_the_header_and_of_those_beside_it(header, tmp_path, monkeypatch):
    names = [build.file_name(build.own_cells())]
    for path in header, tmp_path / "beside.h":
        path.write_text("// changed")
        names.append(build.file_name(build.own_cells()))
    assert len(set(names)) == 3
    elsewhere = shutil.copytree(tmp_path, tmp_path / "elsewhere")
    monkeypatch.setenv("KERAS_GATES_CELLS", str(elsewhere / header.name))
    assert build.file_name(build.own_cells()) == names[-1]


def test_a_header_that_does_not_compile_is_refused_in_a_sentence(header, tmp_path):
    header.write_text(header.read_text().replace("sigmoid(z[0])", "sigmoid(y)"))
    part = build.own_cells()._replace(sources=[build.SOURCES / "kernels.cc"])
    with pytest.raises(build.BuildError, match=r"^the compiler failed \(.*my_cell\.h:\d+.* .y. .*\)\.$"):
        build.compile_part(part, build.find_compiler(), "native", tmp_path / "kernels.so")


@pytest.mark.skipif(not operation.available(), reason="this machine has no kernels")
def test_a_header_that_is_missing_leaves_the_kernels_of_the_package(monkeypatch, caplog):
    monkeypatch.setenv("KERAS_GATES_CELLS", "nowhere/my_cell.h")
    with caplog.at_level(logging.WARNING, "keras_gates"):
        assert core.library.__wrapped__().cells == core.library().cells
    assert [record.getMessage() for record in caplog.records] == [
        "keras_gates runs without the kernels of KERAS_GATES_CELLS: "
        "KERAS_GATES_CELLS must be the path of a header; there is no file 'nowhere/my_cell.h'."
    ]


@pytest.mark.skipif(not operation.available(), reason="this machine has no kernels")
def test_a_name_that_the_package_has_is_refused():
    with pytest.raises(build.BuildError, match="the package has a kernel 'gru_reset_after' itself"):
        core.library().add_cells(SimpleNamespace(cells={"my_cell": 0, "gru_reset_after": 1}))
    assert "my_cell" not in core.library().cells


FIT = """
import json, sys
import keras, numpy as np
from own_kernel import my_cell
import keras_gates
from keras_gates.kernels import operation

run, kernels, found = operation.run, [], {}
operation.run = lambda described, *given: kernels.append(described[0]["cell"]) or run(described, *given)
x = np.random.default_rng(0).normal(size=(8, 7, 3)).astype("float32")
for when in ("always", "never"):
    keras.utils.set_random_seed(0)
    layer = keras_gates.RNN(my_cell()(5, activation="relu"), return_sequences=True)
    model = keras.Sequential([keras.Input((7, 3)), keras.layers.Masking(), layer])
    model.compile("sgd", "mse")
    with keras_gates.use_kernels(when):
        model.fit(x, np.repeat(x.sum(-1, keepdims=True), 5, -1), batch_size=4, shuffle=False, verbose=0)
        found[when] = [weight.tolist() for weight in [model.predict(x, verbose=0), *model.get_weights()]]
    found["kernels"] = sorted(set(kernels))
print(json.dumps(found))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="kernel_check.py has the other backends")
@pytest.mark.skipif(not operation.available(), reason="this machine has no kernels")
def test_it_learns_in_tensorflow_what_the_cell_learns(header):
    python_path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": python_path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", FIT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["kernels"] == ["my_cell"]
    for ours, plain in zip(found["always"], found["never"], strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5)
