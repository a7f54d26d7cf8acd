"""Benchmarks that no figure of the pages was measured by yet: they start."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


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
