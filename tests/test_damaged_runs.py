"""Run folders that are damaged, or that something else wrote: one sentence, exit code 2, nothing changed."""

import json
import shutil
import zipfile

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras

from experiments.common import results
from experiments.inspect import __main__ as inspect
from experiments.report import __main__ as report
from experiments.sentiment import __main__ as sentiment
from experiments.tagging import __main__ as tagging

TINY = ["--units", "4", "--embedding", "3", "--batch-size", "8", "--epochs", "1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    rows = [f"the {word} number {at},{word}" for at in range(60) for word in ("odd", "even")]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert sentiment.main(["--dataset", str(table), *TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def interrupted(table, tmp_path_factory):
    """The partial folder of a run that was interrupted after its last epoch."""

    def interrupt(*_):
        raise KeyboardInterrupt

    out = tmp_path_factory.mktemp("runs") / "interrupted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "write_results", interrupt)
        assert sentiment.main(["--dataset", str(table), *TINY, "--out", str(out)]) == 130
    return out.with_name("interrupted.partial")


COMMANDS = {
    "predict": lambda run: sentiment.main(["predict", str(run), "an odd number"]),
    "evaluate": lambda run: sentiment.main(["evaluate", str(run)]),
    "inspect": lambda run: inspect.main([str(run), "an odd number"]),
    "report": lambda run: report.main([str(run)]),
    "resume": lambda run: sentiment.main(["--resume", str(run)]),
}
CONFIGS = {
    "list": ("[]", "expected a JSON object, got []"),
    "number": ("3", "expected a JSON object, got 3"),
    "null": ("null", "expected a JSON object, got null"),
    "object": ("{}", "expected 'task' to be the name of a task, got null"),
    "half": ("{bad", "it is not JSON"),
    "nothing": ("", "it is not JSON"),
    "deep": ("[" * 100_000, "it is not JSON"),
    "bytes": (b"\xff\xfe", "it is not JSON"),
    "no options": ({"options": {}}, "expected 'options' to be an object with the options of the run, got {}"),
    "options in a list": ({"options": ["lstm"]}, "expected 'options' to be an object"),
    "no labels": ({"labels": []}, "expected 'labels' to be a list of names, got []"),
    "labels that are numbers": ({"labels": [1, 2]}, "expected 'labels' to be a list of names, got [1, 2]"),
    "a task that is a number": ({"task": 3}, "expected 'task' to be the name of a task, got 3"),
}
# these do not look at the labels or the task, so the run is as good as whole for them
MISFITS = {
    "too few labels": ({"labels": ["odd"]}, {"predict", "evaluate", "inspect", "resume"}),
    "other labels": ({"labels": ["black", "white"]}, {"evaluate", "resume"}),
    "another task": ({"task": "tagging"}, {"predict", "evaluate", "inspect", "resume"}),
    "no task": ({"task": "cooking"}, {"predict", "evaluate", "inspect", "resume"}),
    "a module that is no task": ({"task": "common"}, {"predict", "evaluate", "inspect", "resume"}),
    "a path for a task": ({"task": "../../tmp"}, {"predict", "evaluate", "inspect", "resume"}),
}


def damaged(run, content, tmp_path):
    """A copy of a run whose config.json has that content, or those entries."""
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    config = copy / "config.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(config.read_text(encoding="utf-8")), **content})
    config.write_bytes(content if isinstance(content, bytes) else content.encode())
    return copy


def assert_refused(capsys, command, run, sentence=""):
    """The command ends with one line, exit code 2, and nothing in the folder is changed."""
    before = {path: path.stat().st_mtime_ns for path in run.parent.rglob("*")}
    capsys.readouterr()
    assert command(run) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert len(output.err.splitlines()) == 1, output.err
    assert len(output.err) < 600, output.err
    assert {path: path.stat().st_mtime_ns for path in run.parent.rglob("*")} == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("content", "sentence"), CONFIGS.values(), ids=CONFIGS)
def test_a_damaged_config(finished, interrupted, tmp_path, capsys, command, content, sentence):
    run = damaged(interrupted if command == "resume" else finished, content, tmp_path)
    assert_refused(capsys, COMMANDS[command], run, sentence)


@pytest.mark.parametrize(
    ("content", "command"),
    [(content, command) for content, commands in MISFITS.values() for command in sorted(commands)],
    ids=[f"{name}-{command}" for name, (_, commands) in MISFITS.items() for command in sorted(commands)],
)
def test_a_config_that_is_not_of_its_run(finished, interrupted, tmp_path, capsys, content, command):
    run = damaged(interrupted if command == "resume" else finished, content, tmp_path)
    assert_refused(capsys, COMMANDS[command], run)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"units": "many"}, "'many' is not a whole number"),
        ({"units": 0}, "'0' is not a whole number"),
        ({"units": None}, "the option 'units' cannot be None"),
        ({"units": 4.0}, "'4.0' is not a whole number"),
        ({"units": "4"}, "the option 'units' cannot be '4'"),
        ({"cell": "elman"}, "invalid choice: 'elman'"),
        ({"dataset": ["x"]}, "the option 'dataset' cannot be ['x']"),
        ({"help": True}, "there is no option 'help'"),
        ({"decay": "yes"}, "decay"),
    ],
    ids=str,
)
def test_resume_with_options_that_no_command_line_takes(interrupted, tmp_path, capsys, change, sentence):
    config = json.loads((interrupted / "config.json").read_text(encoding="utf-8"))
    run = damaged(interrupted, {"options": {**config["options"], **change}}, tmp_path)
    assert_refused(capsys, COMMANDS["resume"], run, sentence)


def test_resume_without_one_of_the_options(interrupted, tmp_path, capsys):
    config = json.loads((interrupted / "config.json").read_text(encoding="utf-8"))
    del config["options"]["units"]
    run = damaged(interrupted, {"options": config["options"]}, tmp_path)
    assert_refused(capsys, COMMANDS["resume"], run, "it has no option 'units'")


def of_another_network(path):
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    arrays["state_0"] = np.zeros((2, 2), "float32")
    np.savez(path, **arrays)


def without_history(path):
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files if name != "history"}
    np.savez(path, **arrays)


def with_changed_weights(path):
    """Flip the bits of one byte in the middle of the first array."""
    with zipfile.ZipFile(path) as archive:
        first = archive.infolist()[1]
    content = bytearray(path.read_bytes())
    content[first.header_offset + first.file_size // 2 + 100] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PK\x03\x04 and then nothing"),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: np.savez(path, history="not JSON"),
        lambda path: np.savez(path, history="[]"),
        lambda path: np.savez(path, history='[{"epoch": 1}]'),
        lambda path: np.savez(path, history=np.array([{}], object), allow_pickle=True),
        without_history,
        of_another_network,
        with_changed_weights,
    ],
    ids=[
        *("empty", "no archive", "half", "no JSON", "no epoch", "no loss", "pickle"),
        *("no history", "another network", "changed weights"),
    ],
)
def test_resume_from_a_damaged_checkpoint(interrupted, tmp_path, capsys, damage):
    run = tmp_path / interrupted.name
    shutil.copytree(interrupted, run)
    damage(run / "checkpoint.npz")
    assert_refused(capsys, COMMANDS["resume"], run, "checkpoint.npz")


def test_resume_of_a_whole_partial_folder_finishes_it(interrupted, tmp_path):
    """So the refusals above are not for another reason."""
    shutil.copytree(interrupted, tmp_path / interrupted.name)
    assert COMMANDS["resume"](tmp_path / interrupted.name) == 0
    assert (tmp_path / "interrupted" / "model.keras").is_file()


def save_another_model(path):
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(2)])
    model.save(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        save_another_model,
    ],
    ids=["missing", "empty", "half", "another model"],
)
def test_inspect_a_run_with_a_damaged_model(finished, tmp_path, capsys, damage):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    damage(run / "model.keras")
    assert_refused(capsys, COMMANDS["inspect"], run, "model.keras")


@pytest.mark.parametrize(
    "damage",
    [
        shutil.rmtree,
        lambda path: (path / "saved_model.pb").write_bytes(b""),
    ],
    ids=["missing", "empty"],
)
def test_predict_with_a_damaged_saved_model(finished, tmp_path, capsys, damage):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    damage(run / "saved_model")
    assert_refused(capsys, COMMANDS["predict"], run)


def test_runs_of_another_model_do_not_answer(finished, tmp_path, capsys):
    run = damaged(finished, {"task": "tagging", "reads": "words"}, tmp_path)
    command = lambda run: tagging.main(["evaluate", str(run)])  # noqa: E731
    assert_refused(capsys, command, run, "holds no model of experiments.tagging: it has no output")


@pytest.mark.parametrize("content", ["", "[]", "3", "{bad"])
def test_report_on_damaged_metrics(finished, tmp_path, capsys, content):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "metrics.json").write_text(content, encoding="utf-8")
    assert_refused(capsys, COMMANDS["report"], run, "metrics.json")


@pytest.mark.parametrize("reads", [None, 3, "letters"])
def test_a_tagger_that_does_not_say_what_it_reads(finished, tmp_path, capsys, reads):
    run = damaged(finished, {"task": "tagging", "reads": reads}, tmp_path)
    command = lambda run: tagging.main(["predict", str(run), "a text"])  # noqa: E731
    assert_refused(capsys, command, run, "'reads' should be characters or words")
