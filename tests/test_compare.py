"""The comparison of cells: its statistics, its trials after kills, and a whole comparison of real runs."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")
pytest.importorskip("scipy", reason="needs keras_gates[sweep]")
pytest.importorskip("optuna", reason="needs keras_gates[sweep]")

import keras_gates
from experiments.compare import __main__ as compare
from experiments.compare import study as studies
from experiments.compare import worker
from experiments.compare.intervals import holm, mean_of, paired_p, ranks
from experiments.compare.plan import Trial, trials
from experiments.compare.study import by_trial, enqueue_missing, finished, open_study

ROOT = Path(__file__).parents[1]

# A task that trains nothing: it takes a while, can be resumed, and keeps a list of the runs it finished.
FAKE_TASK = """
import json, pathlib, sys, time

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
out = pathlib.Path(given.get("--out") or given["--resume"])
partial = out.with_name(out.name + ".partial")
if "--resume" in given:
    given = json.loads((partial / "config.json").read_text())
else:
    partial.mkdir(parents=True)
    (partial / "config.json").write_text(json.dumps(given))
if given["--cell"] == "gru":
    sys.exit("experiments.fake: no gru today.")
if given["--cell"] == "simple":
    print("The loss was no longer finite in epoch 1, nothing is kept; lower --learning-rate.")
    sys.exit(2)
time.sleep(1.5)
value = len(given["--cell"]) + int(given["--seed"]) / 7
metrics = {
    "main_measure": {"name": "test_loss", "better": "lower", "value": value},
    "parameters": 9, "seconds_per_epoch": time.time() % 10, "epochs": 1, "versions": {"fake": "1"},
}
(partial / "metrics.json").write_text(json.dumps(metrics))
partial.rename(out)
with pathlib.Path("finished.txt").open("a") as file:
    file.write(out.name + "\\n")
"""


# -- statistics


def test_holm_by_hand():
    """0.01 · 4; 0.02 · 3; 0.03 · 2 and 0.04 · 1, which may not be less than the one before."""
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_paired_test_counts_signs_by_hand():
    """Five differences of one sign: of the 32 assignments of signs, two are as extreme."""
    assert paired_p([1.0, 2, 3, 4, 5], [0.9, 1.7, 2.5, 3.1, 3.9]) == pytest.approx(2 / 32)
    assert paired_p([1.0, 2], [1.0, 2]) == 1
    assert paired_p([1.0], [2.0]) is None


def test_the_interval_of_a_mean():
    values = np.random.default_rng(0).normal(3, 1, 400)
    mean = mean_of(values)
    half = 1.96 * values.std() / 20  # by the normal distribution
    assert mean.value == pytest.approx(values.mean())
    assert (mean.low, mean.high) == pytest.approx((mean.value - half, mean.value + half), abs=0.02)
    assert mean_of([2.0]) == (2.0, None, None)
    assert mean_of([2.0, 2.0]) == (2.0, 2.0, 2.0)
    assert mean_of(values) == mean


def test_ranks_as_in_the_paper():
    """Demšar 2006, Table 5: q of Nemenyi's test for four cells is 2.569."""
    scores = np.array([[0.9, 0.8, 0.7, 0.8], [0.5, 0.6, 0.4, 0.3]])
    found = ranks(scores)
    assert found.mean.tolist() == [1.5, 1.75, 3.5, 3.25]
    assert found.critical == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 2)), abs=2e-3)


# -- trials


def test_every_trial_is_planned_once_seed_by_seed():
    plan = trials(["a", "b"], ["lstm", "gru"], 2, "units=4")
    assert len(set(plan)) == len({trial.name() for trial in plan}) == 8
    assert {trial.seed for trial in plan[:4]} == {0}
    command = Trial("synthetic --task adding", "x/mine.py:MyCell", 3, "parameters=20").arguments("here")
    assert command == [
        *("experiments.synthetic", "--task", "adding", "--cell", "x/mine.py:MyCell", "--parameters=20"),
        *("--seed", "3", "--out", "here"),
    ]


def test_the_queue_holds_what_is_missing_once(tmp_path):
    study = open_study(f"sqlite:///{tmp_path / 'study.db'}", heartbeat=None)  # which needs `optimize`
    plan = trials(["a"], ["lstm", "gru"], 1, None)
    for _ in range(2):
        enqueue_missing(study, plan)
    assert len(study.get_trials()) == 2
    taken = study.ask()
    enqueue_missing(study, plan)
    assert len(study.get_trials()) == 2, "one runs and one waits"
    study.tell(taken, 1.0)
    other = study.ask()
    study.tell(other, state=studies._optuna().trial.TrialState.FAIL)
    enqueue_missing(study, plan)
    kept = by_trial(study)
    assert [len(kept[trial]) for trial in plan] == [1, 2]
    assert finished(kept[plan[0]]).value == 1.0 and finished(kept[plan[1]]) is None


def test_a_trial_that_two_drivers_put_into_the_queue_is_trained_once(tmp_path, monkeypatch):
    study = open_study(f"sqlite:///{tmp_path / 'study.db'}", heartbeat=9)
    trial = Trial("a", "lstm", 0, "")
    for _ in range(2):
        study.enqueue_trial({}, user_attrs=trial._asdict())
    told = []

    def trained(trial, folder, lock):
        told.append(trial)
        return {"value": 3.0}

    monkeypatch.setattr(worker, "trained", trained)
    for _ in range(2):
        worker.take(study, tmp_path)
    assert told == [trial]
    assert [(each.state.name, each.value) for each in study.get_trials()] == [("COMPLETE", 3.0)] * 2


# -- whole comparisons, in processes


@pytest.fixture
def clone(tmp_path):
    """A copy of the experiments with a task that trains nothing."""
    shutil.copytree(
        ROOT / "experiments", tmp_path / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    task = tmp_path / "experiments" / "fake"
    task.mkdir()
    (task / "__init__.py").write_text("")
    (task / "__main__.py").write_text(FAKE_TASK)
    return tmp_path


def start(clone, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.compare", *arguments],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": f"{clone}{os.pathsep}{ROOT}", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes(*words):
    """The processes whose command line has all these words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has ended
            continue
        if all(any(word in each for each in line) for word in words):
            found.append(int(folder.name))
    return found


def wait_for(condition, seconds=600):  # a guard: a busy machine takes minutes to start a process
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def table(out):
    with (out / "trials.csv").open(newline="") as file:
        return [{**row, "seconds": None} for row in csv.DictReader(file)]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_a_trial_whose_worker_died_before_its_first_sign_of_life_goes_back_to_the_queue(tmp_path):
    storage, trial = f"sqlite:///{tmp_path / 'study.db'}", Trial("fake", "lstm", 0, "")
    left = open_study(storage, 1)
    enqueue_missing(left, [trial])
    left.ask()  # and no more: nothing signs for it

    def states():
        studies.revive(again)
        return [each.state.name for each in by_trial(again)[trial]]

    again = open_study(storage, 1)
    wait_for(lambda: states() == ["FAIL", "WAITING"], seconds=60)


def test_a_comparison_whose_processes_are_killed_is_finished_by_the_same_command(clone):
    command = ["--tasks", "fake", "--cells", "lstm", "simple", "coupled", "--seeds", "2", "--jobs", "2"]
    command += ["--heartbeat", "1", "--out", str(clone / "killed")]
    driver = start(clone, *command)
    # a worker, whose run goes on without it
    wait_for(lambda: processes("experiments.fake", str(clone / "killed")))
    worker = processes("experiments.compare", "work", str(clone / "killed"))[0]
    os.kill(worker, signal.SIGKILL)
    # the driver, and all that it started
    wait_for(lambda: (clone / "finished.txt").exists())
    driver.kill()
    driver.communicate()
    for process in processes(str(clone / "killed")):
        os.kill(process, signal.SIGKILL)
    driver = start(clone, *command)
    stdout, stderr = driver.communicate(timeout=900)
    assert driver.returncode == 0, stdout + stderr
    assert "6 of 6 done" in stdout and "2 diverged" in stdout
    names = (clone / "finished.txt").read_text().split()
    assert len(names) == len(set(names)) == 4, "nothing that was complete ran twice"
    expected = [("coupled", "complete", 7 + 0 / 7), ("coupled", "complete", 7 + 1 / 7)]
    expected += [("lstm", "complete", 4 + 0 / 7), ("lstm", "complete", 4 + 1 / 7)]
    expected += [("simple", "diverged", "")] * 2
    found = [(row["cell"], row["outcome"], row["value"]) for row in table(clone / "killed")]
    assert found == [(cell, outcome, str(value)) for cell, outcome, value in expected]


def test_a_trial_that_cannot_run_is_told_and_tried_again(clone):
    command = ["--tasks", "fake", "--cells", "gru", "lstm", "--seeds", "1", "--jobs", "1", "--out", "out"]
    driver = start(clone, *command)
    _, stderr = driver.communicate(timeout=900)
    assert driver.returncode == 2
    assert "1 of 2 trials failed" in stderr and "experiments.fake: no gru today." in stderr
    assert "Traceback" not in stderr
    assert [row["cell"] for row in table(clone / "out")] == ["lstm"]
    fake = clone / "experiments" / "fake" / "__main__.py"
    fake.write_text(FAKE_TASK.replace('"gru"', '"never"'))
    driver = start(clone, *command)
    _, stderr = driver.communicate(timeout=900)
    assert driver.returncode == 0, stderr
    assert [row["cell"] for row in table(clone / "out")] == ["gru", "lstm"]


MY_CELL = """
from keras_gates.cells import GatedCell


class MyCell(GatedCell):
    gates, states = ("n",), ("h",)
    without = ("recurrent_activation", "unit_forget_bias")
    draws_mask_seed_first = True  # as the simple cell, so that it begins with the same weights

    def step(self, x, states, recur):
        n = self.activation(x + recur(states[0]))
        return (n,), {"n": n}
"""


def test_real_cells_on_real_tasks_and_one_that_diverges(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("keras_gates.cells.base._CELLS", keras_gates.cell_classes())
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MY_CELL)
    tiny = "--length 6 --batches 2 --epochs 2 --limit 16"
    command = ["--tasks", f"synthetic {tiny}", f"synthetic --task copy {tiny} --learning-rate 1e38"]
    command += ["--cells", "simple", "mine.py:MyCell", "--seeds", "1", "--jobs", "1"]
    assert compare.main([*command, "--budget", "parameters=120", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 done" in said and "2 diverged" in said
    runs = [json.loads(path.read_text()) for path in Path("out/trials").glob("*/metrics.json")]
    ours, theirs = (run["main_measure"]["value"] for run in runs)
    assert ours == pytest.approx(theirs, rel=1e-4), "MyCell is a simple cell"
    assert [row["outcome"] for row in table(Path("out"))] == ["complete"] * 2 + ["diverged"] * 2
    markdown = Path("out/report.md").read_text()
    assert "| mine.py:MyCell | " in markdown and "parameters=120" in markdown
    assert "mine.py:MyCell" in Path("out/report.html").read_text()
    assert compare.main(["report", "out", "--reference", "gru"]) == 2
    assert "--reference gru has no trial" in capsys.readouterr().err


BAD_INPUT = {
    "no such task": (["--tasks", "adding"], "'adding' does not begin with the name of a task"),
    "an open quote": (["--tasks", "synthetic '"], "is not a command line"),
    "a budget of time": (
        ["--tasks", "synthetic", "--budget", "seconds=3"],
        "parameters=NUMBER nor units=NUMBER",
    ),
    "no such cell": (["--tasks", "synthetic", "--cells", "elman"], "invalid choice: 'elman'"),
    "a report of nothing": (["report", "."], "is not the folder of a comparison"),
    "no such storage": (["--tasks", "synthetic", "--storage", "nothing://x"], "Cannot open the storage"),
}


@pytest.mark.parametrize("arguments, sentence", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_in_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compare.main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1


def test_without_optuna_a_sentence_gives_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.chdir(tmp_path)
    assert compare.main(["--tasks", "synthetic", "--cells", "lstm"]) == 2
    assert "pip install keras_gates[sweep]" in capsys.readouterr().err
