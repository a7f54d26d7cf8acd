"""Benchmarks: those that no figure of the pages was measured by yet start; the one that seeks wrong kernels
finds them.
"""

import functools
import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gates
from keras_gates.kernels import operation

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
needs_kernels = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("c++"), reason="this machine has no kernels"
)


def test_the_benchmark_for_a_gpu_says_what_it_measures():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "lstm,gru,peephole,coupled" in done.stdout


def test_the_benchmark_for_a_gpu_refuses_cells_that_it_does_not_know():
    command = [sys.executable, BENCHMARKS / "gpu.py", "--cells", "clockwork"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'clockwork'" in done.stderr


@pytest.fixture
def soak_problems(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)  # where it is run from
    return importlib.import_module("soak_problems")


@needs_kernels
def test_random_problems_find_nothing_wrong_with_the_kernels(soak_problems, capsys):
    assert soak_problems.main(["--count", "2"]) == 0
    told = capsys.readouterr().out
    assert f"{keras.backend.backend()}: 2 compared" in told
    assert "FINDING" not in told


@needs_kernels
def test_random_problems_find_a_wrong_kernel(soak_problems, monkeypatch, capsys):
    run = operation.run

    def run_wrongly(*given):
        last, outputs, states = run(*given)
        return 1.001 * last, 1.001 * outputs, states

    monkeypatch.setattr(operation, "run", run_wrongly)
    monkeypatch.setattr(soak_problems, "NEIGHBOURS", 1)
    assert soak_problems.main(["--count", "2"]) == 1
    assert capsys.readouterr().out.count("FINDING") == 2


def test_random_problems_take_what_is_not_a_number_for_an_error(soak_problems):
    zeros, nothing = np.zeros(3), functools.partial(float, 0)
    results, reference = [zeros + 0.5, zeros + np.nan], [zeros, zeros]
    tally = soak_problems.Tally(least_error=1e-6)
    tally.enter("problem 0", results, True, reference, reference, nothing)
    assert len(tally.findings) == 1


def test_random_problems_that_no_kernel_solves_are_findings(soak_problems, monkeypatch, capsys):
    monkeypatch.setattr(operation, "available", lambda: False)
    assert soak_problems.main(["--count", "1"]) == 1
    assert "the kernels did not serve" in capsys.readouterr().out


@needs_kernels
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="it is the backend at hand")
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_random_problems_are_solved_on_another_backend_too(soak_problems, capsys):
    assert soak_problems.main(["--count", "2", "--torch", sys.executable]) == 0
    told = capsys.readouterr().out
    assert all(f"{backend}: 2 compared" in told for backend in (keras.backend.backend(), "torch"))


def test_random_problems_refuse_the_backend_at_hand_as_another(soak_problems, capsys):
    backend = keras.backend.backend()
    with pytest.raises(SystemExit):
        soak_problems.main([f"--{backend}", sys.executable])
    assert f"--{backend} names the backend at hand" in capsys.readouterr().err


def test_random_problems_try_every_cell_wrapper_and_argument(soak_problems):
    problems = [soak_problems.problem_of(k, seed=0) for k in range(200)]
    assert {problem.name for problem in problems} == set(keras_gates.cell_classes())
    assert {problem.wrapper for problem in problems} == {None, "residual", "zoneout"}
    assert {name for problem in problems for name in problem.of_cell} >= set(soak_problems.CHOICES)
