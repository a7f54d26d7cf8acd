"""Training on two devices gives the losses and weights of one, whatever a batch holds; and JAX' own way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

from test_backends import python_with_jax

import keras_gates

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Histories of training on one and two devices, and what the process said."""
    folder = tmp_path_factory.mktemp("devices")
    command = [sys.executable, str(ROOT / "tests/device_check.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads((folder / "histories.json").read_text()), ended.stdout, folder


@pytest.mark.parametrize("problem", ["masked", "run"])
def test_two_devices_give_what_one_gives(trained, problem):
    """The run on two devices was continued after its first epoch."""
    histories, *_ = trained
    one, two = histories["one"][problem], histories["two"][problem]
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-5, err_msg=name)


def test_a_run_on_two_devices_is_exported(trained):
    served = keras_gates.load(trained[2] / "two" / "saved_model")
    np.testing.assert_allclose(served(["film 3 good 9", ""]).numpy().sum(axis=1), 1, atol=1e-6)


def test_more_devices_than_there_are_are_refused_in_a_sentence(trained):
    _, said, folder = trained
    assert "--devices 3: TensorFlow has 2 devices of the kind CPU." in said
    assert not list(folder.glob("many*"))


def test_a_network_that_carries_its_state_trains_on_one_device():
    pytest.importorskip("tensorflow")
    from experiments.common.devices import check_can_spread
    from experiments.common.errors import InputError

    carries = keras.Sequential([keras.Input((3, 2), batch_size=4), keras.layers.LSTM(2, stateful=True)])
    check_can_spread(carries, 1)
    with pytest.raises(InputError, match="--devices 2: this network carries its state"):
        check_can_spread(carries, 2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="starts JAX from TensorFlow's tests")
def test_two_devices_of_jax_give_what_one_gives(request, tmp_path):
    python, out = python_with_jax(request.config.cache), tmp_path / "answer.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"}
    command = [python, str(ROOT / "tests/jax_device_check.py"), str(out)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    answer = json.loads(out.read_text())
    assert answer["one"].pop("devices") == [1] and answer["two"].pop("devices") == [2]
    for name, values in answer["one"].items():
        np.testing.assert_allclose(answer["two"][name], values, atol=1e-5, err_msg=name)
