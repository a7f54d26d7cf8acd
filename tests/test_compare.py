"""The comparison of cells: its statistics, its trials after kills, and a whole comparison of real runs."""

import csv
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Queue

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")
pytest.importorskip("scipy", reason="needs keras_gates[sweep]")
pytest.importorskip("optuna", reason="needs keras_gates[sweep]")

from PIL import Image

import keras_gates
from experiments.common.errors import InputError
from experiments.common.figures import save_png
from experiments.compare import __main__ as compare
from experiments.compare import forks, worker
from experiments.compare import study as studies
from experiments.compare.intervals import explained, holm, mean_of, paired_p, ranks
from experiments.compare.locks import held
from experiments.compare.page import COLUMNS, TITLE, read_page
from experiments.compare.pictures import draw_curves
from experiments.compare.plan import Trial, budget, trials
from experiments.compare.presets import PRESETS
from experiments.compare.report import comparison_of, write_report
from experiments.compare.search import importance, settings_of
from experiments.compare.study import by_trial, enqueue_missing, finished, open_study
from experiments.synthetic.tasks import TASKS

ROOT = Path(__file__).parents[1]

# A task that trains nothing: it takes a while, can be resumed, and keeps a list of the runs it finished.
FAKE_TASK = """
import json, math, pathlib, sys, time

words = [word for given in sys.argv[1:] for word in given.split("=") if word != "--no-model"]
given = dict(zip(words[::2], words[1::2]))
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
cost = abs(math.log10(float(given.get("--learning-rate", 1e-2))) + 2)  # lowest at 0.01
(partial / "history.csv").write_text(f"epoch,loss,val_loss\\n1,3.0,{2 + cost}\\n2,2.0,{1 + cost}\\n")
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


def test_the_share_of_groups_as_published():
    """Shrout & Fleiss 1979, Tables 2 and 4: six targets, four judges, ICC(1, 1) = 0.17."""
    rated = [(9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7)]
    assert explained(rated) == pytest.approx(0.166, abs=5e-4)
    assert explained([*rated, [3]]) == explained(rated), "one value says nothing of the variance in a group"
    assert explained([(1, 1), (2, 2, 2)]) == 1
    assert explained([(1, 2), (2, 1)]) == 0
    assert explained([(1, 1), (1, 1)]) is None
    assert explained([(1, 2)]) is None


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
    command = Trial("synthetic --task adding", "x/mine.py:MyCell", 3, "parameters=20").arguments("here", {})
    assert command == [
        *("experiments.synthetic", "--no-model", "--task", "adding", "--cell", "x/mine.py:MyCell"),
        *("--parameters=20", "--seed", "3", "--out", "here"),
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
    study.tell(other, state=studies.import_optuna().trial.TrialState.FAIL)
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

    def trained(trial, folder, settings, lock):
        told.append(trial)
        return {"value": 3.0, "cost": 1.0}

    monkeypatch.setattr(worker, "trained", trained)
    for _ in range(2):
        worker.take(study, tmp_path)
    assert told == [trial]
    assert [(each.state.name, each.value) for each in study.get_trials()] == [("COMPLETE", 3.0)] * 2


# -- processes of trials

# It notes its parent, and ends when it is told how.
WAITING_MODULE = """
import os, pathlib, sys, time

pathlib.Path("parent").write_text(str(os.getppid()))
while not pathlib.Path("end").exists():
    time.sleep(0.05)
sys.exit(pathlib.Path("end").read_text() or 7)
"""


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """A function that begins a fork of `WAITING_MODULE`, and the file to which it writes."""
    if not forks.AVAILABLE:
        pytest.skip("no process can be forked here")
    monkeypatch.setattr(forks, "IMPORTED", [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("waiting.py").write_text(WAITING_MODULE)

    def begin():
        with held(tmp_path / "lock", wait=True) as lock:
            return forks.Fork(["waiting"], Path("log"), lock)

    return begin


def ended(fork, seconds=600):  # a guard, as for `wait_for`
    """The exit code of a fork. If it does not end, the test fails."""
    codes = Queue()
    threading.Thread(target=lambda: codes.put(fork.wait()), daemon=True).start()
    return codes.get(timeout=seconds)


def is_locked(path):
    with held(path, wait=False) as lock:
        return lock is None


def test_a_fork_tells_how_it_ended_and_keeps_the_lock_until_then(forked):
    begun = forked()
    wait_for(Path("parent").exists)
    assert is_locked(Path("lock"))
    Path("end").write_text("")
    assert ended(begun) == 7
    assert not is_locked(Path("lock"))
    Path("end").write_text("the reason")
    assert ended(forked()) == 1
    assert Path("log").read_text().splitlines()[-1] == "the reason"
    Path("end").unlink()
    begun = forked()
    begun.terminate()
    assert ended(begun) < 0


def test_a_fork_is_waited_for_when_its_server_is_killed(forked):
    begun = forked()
    server = wait_for(lambda: Path("parent").exists() and Path("parent").read_text())
    os.kill(int(server), signal.SIGKILL)
    assert is_locked(Path("lock"))
    threading.Timer(0.5, Path("end").write_text, [""]).start()
    assert ended(begun) < 0, "nobody knows how it ended"
    assert Path("end").exists()
    wait_for(lambda: not is_locked(Path("lock")), seconds=60)
    assert ended(forked()) == 7, "there is a new server"


# -- searches


def test_a_random_search_draws_by_seed_and_number_alone():
    lstm, gru = (Trial("a", cell, 1, "", "random", 3) for cell in ("lstm", "gru"))
    found = settings_of(lstm, [])
    assert found == settings_of(lstm, [(found, 1.0)]) == settings_of(gru, [])
    assert found not in (settings_of(lstm._replace(number=4), []), settings_of(lstm._replace(seed=2), []))
    assert 1e-4 <= found["learning-rate"] <= 1e-1 and 0 <= found["dropout"] <= 0.5
    assert 20 <= found["units"] <= 200 and isinstance(found["units"], int)


def test_what_the_task_or_the_budget_gives_is_not_searched():
    assert list(settings_of(Trial("a --learning-rate 1", "lstm", 0, "units=4", "random"), [])) == ["dropout"]
    assert settings_of(Trial("a --learning-rate=1 --dropout 0", "lstm", 0, "units=4", "tpe"), []) == {}


def test_tpe_learns_from_earlier_results_and_from_divergence():
    """The cost is lowest at a learning rate of 0.01, and everything above 0.03 diverges."""

    def distances(sampler):
        earlier = []
        for number in range(40):
            settings = settings_of(Trial("a", "lstm", 0, "units=4", sampler, number), earlier)
            rate = settings["learning-rate"]
            earlier.append((settings, None if rate > 0.03 else abs(np.log10(rate) + 2)))
        return [abs(np.log10(settings["learning-rate"]) + 2) for settings, _ in earlier[20:]]

    assert np.mean(distances("tpe")) < 0.8 * np.mean(distances("random"))


def test_importance_finds_the_setting_that_the_cost_follows():
    def results(cost_of):
        plan = trials(["a"], ["lstm", "gru"], 1, "units=4", "random", 30)
        points = [(trial, settings_of(trial, [])) for trial in plan]
        return [(trial, point, cost_of(trial, point)) for trial, point in points]

    shares = importance(results(lambda trial, point: np.log10(point["learning-rate"])))
    assert shares["learning-rate"] > 0.9
    assert importance(results(lambda trial, point: len(trial.cell)))["cell"] > 0.9
    assert importance(results(lambda trial, point: 1.0)) == {}


@pytest.fixture
def untrained(monkeypatch):
    """A function that takes what computes validation cost and test value of a trial from it and its settings;
    then trials are not trained, and the list that it returns tells which would have been."""

    def replace(measure):
        told = []

        def process(trial, folder, settings, lock):
            folder.mkdir()
            cost, value = measure(trial, settings)
            metrics = {
                "main_measure": {"name": "test_loss", "better": "lower", "value": value},
                "parameters": 9,
                "seconds_per_epoch": 1.0,
                "epochs": 1,
                "versions": {"fake": "1"},
            }
            (folder / "metrics.json").write_text(json.dumps(metrics))
            (folder / "history.csv").write_text(f"epoch,loss,val_loss\n1,1.0,{cost + 1}\n2,1.0,{cost}\n")
            told.append(trial)
            return 0, ""

        monkeypatch.setattr(worker, "process", process)
        return told

    return replace


def of_learning_rate(trial, settings):
    """A cost that is lowest at 0.01, and a test that is the worse the lower the cost."""
    cost = abs(np.log10(settings["learning-rate"]) + 2)
    return cost, 3 - cost


def cost_of(row):
    return float(row["cost"])


def taken(out, plan):
    """A study, in memory, of which the trials of a plan were taken one by one."""
    study = studies.import_optuna().create_study()
    for trial in plan:
        study.enqueue_trial({}, user_attrs=trial._asdict())
        worker.take(study, out)
    return study


def test_a_search_gives_the_same_if_the_queue_lacks_the_trials_before(tmp_path, untrained):
    """As after a kill; each is trained once."""
    told = untrained(of_learning_rate)
    plan = trials(["a"], ["lstm"], 1, "units=4", "tpe", 13)  # the first ten of TPE are random
    found = []
    for name, queue in {"whole": plan, "last": plan[-1:]}.items():
        told.clear()
        study = taken(tmp_path / name, queue)
        assert told == plan
        found.append({trial: kept[0].user_attrs for trial, kept in by_trial(study).items()})
    whole, last = found
    assert last == {plan[-1]: whole[plan[-1]]}


def test_of_a_search_the_test_of_the_best_in_validation_is_reported(tmp_path, untrained):
    untrained(of_learning_rate)
    study = taken(tmp_path / "out", trials(["a"], ["lstm", "gru"], 2, "units=4", "random", 6))
    comparison = comparison_of(study, "out")
    write_report([comparison], tmp_path / "out")
    rows = table(tmp_path / "out")
    assert len(rows) == 24
    of_lstm = [row for row in rows if row["cell"] == "lstm"]
    best = [min((row for row in of_lstm if row["seed"] == seed), key=cost_of) for seed in "01"]
    (found,) = comparison.tables
    line = dict(zip(found.head, found.rows[0], strict=True))
    assert float(line["mean"]) == pytest.approx(np.mean([float(row["value"]) for row in best]), abs=1e-3)
    assert line["seeds"] == "2" and "best of 6 in validation, random" in found.title
    settings = min(best, key=cost_of)["settings"]
    assert settings.replace("--", "").replace("=", " ").split() == line["settings"].replace(",", "").split()
    shares = dict(re.findall(r"([a-z-]+) (\d\.\d+)", found.note))
    assert shares.keys() == {"learning-rate", "dropout", "cell"}
    assert sum(map(float, shares.values())) == pytest.approx(1, abs=0.02)


# -- reports and presets


@pytest.fixture
def compared(tmp_path, untrained, monkeypatch):
    """The folders of two comparisons, of a preset and of a file of the user's, by name."""
    kept = {}
    monkeypatch.setattr(compare, "open_study", lambda storage, heartbeat: kept[storage])
    untrained(lambda trial, settings: (1.0, trial.seed + len(trial.cell)))
    tasks = list(PRESETS["chung2014"].tasks)
    for name, preset in {"music": "chung2014", "own": None}.items():
        given = tasks if preset else [f"music --dataset {tmp_path / 'mine.mat'}"]
        kept[name] = taken(tmp_path / name, trials(given, ["gru", "lstm"], 2, ""))
        command = f"python -m experiments.compare --tasks {shlex.join(given)} --out {tmp_path / name}"
        plan = {"command": command, "storage": name, "preset": preset}
        (tmp_path / name / "plan.json").write_text(json.dumps(plan))
    return {name: str(tmp_path / name) for name in ("music", "own")}


def page_of(folder, *runs):
    folder.mkdir(exist_ok=True)
    page = folder / "results.md"
    assert compare.main(["report", *runs, "--page", str(page)]) == 0
    return page


def test_a_page_of_several_comparisons_names_nothing_of_this_machine(compared, tmp_path, capsys):
    page = page_of(tmp_path / "docs", *compared.values())
    text = page.read_text()
    pictures = re.findall(r"!\[.+\]\((.+)\)", text)
    assert pictures == [
        *("results-music-ranks.png", "results-music-violins.png", "results-music-curves.png"),
        *("results-own-violins.png", "results-own-curves.png"),
    ]
    expected = {"results.md", "results.csv", *pictures}
    assert {path.name for path in page.parent.iterdir()} == expected
    assert "### music --dataset mine.mat" in text and "fake 1" in text
    assert str(tmp_path) not in text + page.with_suffix(".csv").read_text()
    assert re.search(r"^\| lstm \| .* \| 8\.67 \|$", text, re.MULTILINE), "the published figure"
    assert PRESETS["chung2014"].differs in text
    capsys.readouterr()
    assert compare.main(["report", *[compared["music"]] * 2, "--page", str(page)]) == 2
    assert "have the same name" in capsys.readouterr().err


def test_a_page_keeps_what_it_has_of_other_comparisons(compared, tmp_path):
    """So a comparison can be added, or told anew, without the runs of the others."""
    together = page_of(tmp_path / "together", *compared.values())
    page_of(tmp_path / "apart", compared["music"])
    for name in ("own", "music"):
        apart = page_of(tmp_path / "apart", compared[name])
        assert apart.read_bytes() == together.read_bytes()
        assert apart.with_suffix(".csv").read_bytes() == together.with_suffix(".csv").read_bytes()
        pictures = re.findall(r"!\[.+\]\((.+)\)", apart.read_text())
        assert pictures and all((apart.parent / picture).exists() for picture in pictures)


def test_a_section_that_is_removed_takes_its_trials_along(compared, tmp_path):
    page = page_of(tmp_path / "docs", *compared.values())
    page.write_text(re.sub(r"## music\n.*?(?=^## own)", "", page.read_text(), flags=re.DOTALL | re.MULTILINE))
    page_of(tmp_path / "docs", compared["own"])
    assert "music," not in page.with_suffix(".csv").read_text()


def test_a_picture_that_is_not_drawn_any_more_is_removed(compared, tmp_path):
    (tmp_path / "docs").mkdir()
    old = tmp_path / "docs" / "results-own-ranks.png"
    old.write_bytes(b"of two tasks")
    page_of(tmp_path / "docs", compared["own"])
    assert not old.exists()


NO_PAGE = {
    "another page": ({"results.md": "# My notes\n"}, "results.md does not begin with '# Cells compared'"),
    "other columns": (
        {"results.csv": "my,own\n1,2\n"},
        "results.csv has other columns than comparison, task",
    ),
    "an empty table": ({"results.csv": ""}, "results.csv has other columns than comparison, task"),
    "no table": ({"results.csv": None}, "results.md is there without results.csv"),
    "no page": ({"results.md": None}, "results.csv is there without results.md"),
    "no trials": ({"results.csv": ",".join(COLUMNS) + "\n"}, "has no trials of own, which results.md has"),
}


@pytest.mark.parametrize("texts, sentence", NO_PAGE.values(), ids=NO_PAGE)
def test_what_is_no_page_of_comparisons_ends_in_one_sentence(texts, sentence, tmp_path):
    row = ",".join(["own", *COLUMNS[1:]])
    page = {"results.md": f"{TITLE}\n\n## own\n\nText.\n", "results.csv": f"{','.join(COLUMNS)}\n{row}\n"}
    for name, text in (page | texts).items():
        if text is not None:
            (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(sentence)):
        read_page(tmp_path / "results.md")


def test_a_page_is_written_over_no_other_file(compared, tmp_path, capsys):
    page = tmp_path / "results.md"
    page.write_text("# My notes\n")
    page.with_suffix(".csv").write_text("my,own\n")
    assert compare.main(["report", compared["own"], "--page", str(page)]) == 2
    assert "does not begin with" in capsys.readouterr().err
    assert page.read_text() == "# My notes\n" and page.with_suffix(".csv").read_text() == "my,own\n"
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("name", PRESETS)
def test_each_task_and_cell_of_a_preset_can_be_run(name):
    preset = PRESETS[name]
    assert set(preset.cells) <= keras_gates.cell_classes().keys()
    assert preset.seeds >= 1 and (preset.budget is None or budget(preset.budget) == preset.budget)
    assert preset.tasks
    for line, published in preset.tasks.items():
        module, *words = shlex.split(line)
        options = importlib.import_module(f"experiments.{module}.__main__").train_parser().parse_args(words)
        assert published.keys() <= (set(preset.cells) or keras_gates.cell_classes().keys())
        if module == "synthetic":
            TASKS[options.dataset].rule_of(options)


def test_what_is_given_replaces_what_a_preset_has():
    parser = compare.run_parser()
    rows = PRESETS["rows"]
    plan = compare.wanted_trials(parser.parse_args(["--preset", "rows"]))
    assert len(plan) == rows.seeds * len(rows.cells)
    assert {(trial.task, trial.budget) for trial in plan} == {(*rows.tasks, rows.budget)}
    words = ["--preset", "rows", "--cells", "gru", "--seeds", "1", "--budget", "units=3", "--search", "2"]
    plan = compare.wanted_trials(parser.parse_args(words))
    task = next(iter(rows.tasks))
    assert plan == [Trial(task, "gru", 0, "units=3", "random", number) for number in (0, 1)]
    assert len(compare.wanted_trials(parser.parse_args(["--tasks", "synthetic", "--cells", "gru"]))) == 5


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


def workers(out):
    """The workers of a comparison."""
    return [each for each, line, _ in living() if {"work", str(out)} <= set(line)]


def processes_in(folder):
    """The processes that name a folder in their command line, or have a file in it open, as forks have."""
    return [each for each, line, files in living() if any(str(folder) in one for one in [*line, *files])]


def living():
    """Of each process, its number, the words of its command line, and the names of its open files."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode().split("\0")
            files = [os.readlink(link) for link in (folder / "fd").iterdir()]
        except OSError:  # it has ended, or belongs to another user
            continue
        yield int(folder.name), line, files


def training(out):
    """The folders of the runs of a comparison that have begun and not ended."""
    return list((out / "trials").glob("*.partial"))


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
    wait_for(lambda: training(clone / "killed"))
    first, second = workers(clone / "killed")
    # all that a worker has started, which forks its runs; and the other worker, whose run goes on without it
    for process in Path(f"/proc/{first}/task/{first}/children").read_text().split():
        os.kill(int(process), signal.SIGKILL)
    os.kill(second, signal.SIGKILL)
    # the driver, and all that it started
    wait_for(lambda: (clone / "finished.txt").exists())
    driver.kill()
    driver.communicate(timeout=60)
    for process in processes_in(clone / "killed"):
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


def weights(run):
    """All variables of a run and of its optimizer after the last epoch, and those of the best, as bytes."""
    with np.load(run / "checkpoint.npz") as kept:
        return {name: kept[name].tobytes() for name in kept.files if name != "history"}


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
    run = next(Path("out/trials").glob("*-simple-*/config.json")).parent
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "checkpoint.npz", "metrics.json", "history.csv")
    }
    own = Trial(f"synthetic {tiny}", "simple", 0, "parameters=120").arguments("own", {})
    subprocess.run([sys.executable, "-m", *own], env=worker.environment(), check=True, capture_output=True)
    assert weights(Path("own")) == weights(run), "a fork trains as a process of its own, to the last bit"
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
    "neither tasks nor a preset": ([], "Give --tasks, or --preset"),
    "no such preset": (["--preset", "x"], "invalid choice: 'x' (choose from"),
    "a sampler of no search": (["--tasks", "synthetic", "--sampler", "tpe"], "give --search N too"),
    "a page of another kind": (["report", ".", "--page", "x.html"], "'x.html' is not a file named .md"),
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


def test_a_picture_has_half_of_the_bytes_and_looks_the_same(tmp_path):
    rng = np.random.default_rng(0)
    curves = {f"cell {at}": rng.random((3, 10)).cumsum(axis=1) for at in range(26)}
    figure = draw_curves({f"task {at}": ("loss", True, curves) for at in range(3)}, ("command", "versions"))
    figure.savefig(tmp_path / "plain.png", dpi=110)
    save_png(figure, tmp_path / "small.png", dpi=110)
    plain, small = (
        np.asarray(Image.open(tmp_path / name).convert("RGB"), int) for name in ("plain.png", "small.png")
    )
    assert 2 * (tmp_path / "small.png").stat().st_size < (tmp_path / "plain.png").stat().st_size
    difference = abs(plain - small)  # of 255
    assert difference.mean() < 1 and np.quantile(difference, 0.999) <= 16
