"""The tasks that need memory: what is drawn, when an answer is right, and a run from the outside."""

import json
import math
import re
import shutil

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the experiments need keras_gates[experiments]")

import keras_gates
from experiments.common.fitting import Keeper
from experiments.inspect import __main__ as inspect
from experiments.synthetic import __main__ as synthetic
from experiments.synthetic import grammars, measures, remembering, timing
from experiments.synthetic.network import network
from experiments.synthetic.problem import prepare
from experiments.synthetic.sequences import TRAIN, Drawn, Sequences
from experiments.synthetic.tasks import TASKS

TINY = ["--units", "5", "--epochs", "3", "--batches", "4", "--batch-size", "8", "--limit", "20"]


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(name, count=500, **rule):
    task = TASKS[name]
    return task.draw(rng(), count, **{**task.rule, **rule})


def symbols(sequences, names):
    """The sequences as strings, up to the last step that has a symbol."""
    rows = [["".join(names[step.argmax()] if step.any() else "" for step in row)] for row in sequences.inputs]
    return [row[0] for row in rows]


# -- what is drawn


def test_the_sum_is_that_of_two_marked_numbers():
    inputs, targets, weights = drawn("adding", length=30)
    marks = inputs[..., 1]
    assert set(np.unique(marks)) == {0, 1}
    assert (marks.sum(axis=1) == 2).all()
    assert (marks.sum(axis=0) > 0).all(), "both may stand anywhere"
    for row, wanted in zip(inputs, targets[:, -1, 0], strict=True):
        first, second = row[row[:, 1] == 1, 0]
        assert wanted == pytest.approx(first + second)
    assert (weights.sum(axis=1) == 1).all() and (weights[:, -1] == 1).all()


def test_ten_symbols_are_to_be_said_after_the_last_sign():
    sequences = drawn("copy", 50, length=7)
    assert sequences.inputs.shape == (50, 27, 10)
    given, wanted = sequences.inputs.argmax(axis=-1), sequences.targets.argmax(axis=-1)
    assert (given[:, :10] == wanted[:, -10:]).all()
    assert set(np.unique(given[:, :10])) == set(range(1, 9))
    assert (given[:, 10:16] == 0).all() and (given[:, 16:] == 9).all()
    assert (wanted[:, :17] == 0).all() and (sequences.weights == 1).all()


def test_temporal_order_is_that_of_the_two_symbols_among_distractors():
    names = TASKS["temporal-order"].features
    sequences = drawn("temporal-order", length=100)
    lengths = set()
    for string, targets, weights in zip(
        symbols(sequences, names), sequences.targets, sequences.weights, strict=True
    ):
        assert re.fullmatch("E[abcd]{9,}[XY][abcd]+[XY][abcd]+B", string)
        first, second = (found.start() for found in re.finditer("[XY]", string))
        assert 10 <= first < 20 and 50 <= second < 60
        last = len(string) - 1
        lengths.add(len(string))
        assert weights.sum() == weights[last] == 1
        assert TASKS["temporal-order"].outputs[targets[last].argmax()] == string[first] + string[second]
    assert min(lengths) == 100 and max(lengths) == 110


def test_the_answer_is_the_interval_between_spikes():
    inputs, targets, weights = drawn("measured-intervals", length=60, period=10)
    found = set()
    for row, wanted, counts in zip(inputs[..., 0], targets[..., 0], weights, strict=True):
        places = np.flatnonzero(row)
        intervals = set(np.diff(places))
        assert len(intervals) == 1
        (interval,) = intervals
        assert (wanted[places[1:]] == interval - 10).all()
        assert np.flatnonzero(counts).tolist() == places[1:].tolist()
        found.add(int(interval))
    assert found == set(range(10, 20))


def test_noise_moves_spikes_and_not_the_answer():
    inputs, targets, weights = drawn("measured-intervals", length=200, period=10, noise=2)
    differences = set()
    for row, wanted, counts in zip(inputs[..., 0], targets[..., 0], weights, strict=True):
        (answer,) = np.unique(wanted[counts > 0])
        differences |= set(np.diff(np.flatnonzero(row)) - (answer + 10))
    assert min(differences) == -4 and max(differences) == 4


def test_spikes_are_wanted_every_period_after_the_start():
    inputs, targets, weights = drawn("generated-spikes", 50, length=47, period=9)
    for row, wanted in zip(inputs[..., 0], targets[..., 0], strict=True):
        (start,) = np.flatnonzero(row)
        assert np.flatnonzero(wanted).tolist() == list(range(start + 9, 47, 9))
    assert len(np.unique(inputs.argmax(axis=1))) == 9
    assert (weights == 1).all()


@pytest.mark.parametrize(
    "function, values",
    [("cosine", [0, 0.5, 1, 0.5]), ("triangle", [0, 0.5, 1, 0.5]), ("rectangle", [0, 0, 1, 1])],
)
def test_a_periodic_function_begins_at_the_start(function, values):
    inputs, targets, _ = timing.periodic(rng(), 20, 16, 4, function)
    for row, wanted in zip(inputs[..., 0], targets[..., 0], strict=True):
        start = row.argmax()
        assert (wanted[:start] == 0).all()
        np.testing.assert_allclose(wanted[start : start + 12], values * 3, atol=1e-6)


def test_waves_are_always_the_same():
    first, second = (timing.waves(rng(seed), 2, 100).targets for seed in (0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], first[1])
    assert 0.3 < np.abs(first).max() <= 1


def may_follow(prefix, strings):
    return {string[len(prefix)] for string in strings if string.startswith(prefix)}


@pytest.mark.parametrize("letters", ["ab", "abc"])
def test_what_may_follow_in_a_counting_language_is_what_follows_in_one_of_its_strings(letters):
    language = ["".join(letter * n for letter in letters) + "." for n in range(1, 9)]
    sequences = grammars.counting(letters, [4, 1, 3])
    for n, inputs, targets, weights in zip((4, 1, 3), *sequences, strict=True):
        string = "".join(("", *letters)[step.argmax()] for step in inputs if step.any())
        assert string == "".join(letter * n for letter in letters)
        assert weights.sum() == len(letters) * n + 1
        for step in range(len(string) + 1):
            told = {(*letters, ".")[at] for at in np.flatnonzero(targets[step])}
            assert told == may_follow(string[:step], language), (string, step)


def test_counting_strings_are_drawn_of_every_length():
    lengths = {len(string) for string in symbols(drawn("anbn", length=6), ("", "a", "b"))}
    assert lengths == {2, 4, 6, 8, 10, 12}


AFTER_TX = "(?:XT*VP)*(?:S|XT*VV)"
INNER = f"B(?:TS*X{AFTER_TX}|PT*V(?:P{AFTER_TX}|V))E"


@pytest.mark.parametrize("name, language", [("reber", INNER), ("embedded-reber", f"B([TP]){INNER}\\1E")])
def test_reber_strings_are_of_the_grammar_and_all_that_follows_may_follow(name, language):
    sequences = drawn(name, 4000)
    strings = symbols(sequences, grammars.REBER)
    whole = [string + "E" for string in strings]  # the last symbol is only an answer
    assert all(re.fullmatch(language, string) for string in whole)
    for string, targets in zip(strings[:50], sequences.targets, strict=False):
        for step in range(min(len(string), 5)):
            told = {grammars.REBER[at] for at in np.flatnonzero(targets[step])}
            assert told == may_follow(string[: step + 1], whole), (string, step)


@pytest.mark.parametrize("name", TASKS)
def test_every_sequence_is_new_and_follows_from_its_seed(name):
    task = TASKS[name]

    def stream(seed):
        return Drawn(lambda rng, count: task.draw(rng, count, **task.rule), TRAIN, 8, 2, seed)

    one, again, other = (list(stream(seed).epoch(1)) for seed in (0, 0, 1))
    for ours, theirs in zip(one, again, strict=True):
        np.testing.assert_array_equal(ours.inputs, theirs.inputs)
    assert one[0].inputs.shape[-1] == len(task.features)
    assert one[0].targets.shape[-1] == len(task.outputs)
    if name != "waves":
        drawn = [batch.inputs for batch in (*one, *other, *stream(0).epoch(0))]
        assert len({batch.tobytes() for batch in drawn}) == len(drawn)


def test_training_may_begin_with_short_sequences_and_the_test_has_long_ones():
    options = synthetic.train_parser().parse_args(
        ["--task", "copy", "--length", "160", "--shortest", "5", "--batch-size", "2", "--batches", "400"]
    )
    problem = prepare(options)
    lengths = np.array([len(inputs[0]) - 20 for inputs, _, _ in problem.train.epoch(0)])
    assert lengths.min() == 5 and 150 < lengths.max() <= 160
    within_a_factor_of_two = [np.mean((lengths >= n) & (lengths < 2 * n)) for n in (5, 10, 20, 40, 80)]
    np.testing.assert_allclose(within_a_factor_of_two, 1 / 5, atol=0.06)  # each factor of two alike
    assert {len(inputs[0]) - 20 for inputs, _, _ in problem.validation.epoch(0)} == {160}
    assert problem.facts["rule"] == {"length": 160}


def test_a_stream_can_be_entered_at_any_epoch():
    stream = Drawn(lambda rng, count: remembering.adding(rng, count, 5), TRAIN, 4, 3, seed=7)
    whole = [inputs.numpy() for inputs, *_ in stream.endless().take(9)]
    later = [inputs.numpy() for inputs, *_ in stream.endless(first_epoch=2).take(3)]
    np.testing.assert_array_equal(later, whole[6:])
    once = [[inputs.numpy() for inputs, *_ in stream.once()] for _ in range(2)]
    np.testing.assert_array_equal(*once)
    assert len(once[0]) == 3


# -- when an answer is right


def perfect(name):
    """The measures of a network that knows every answer."""
    task = TASKS[name]
    rule = {**task.rule, **({"longest": 45} if "longest" in task.rule else {})}
    return task, rule


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if "longest" not in task.rule])
def test_perfect_answers_are_right_and_those_of_who_reads_nothing_are_not(name):
    task, rule = perfect(name)
    known = []

    def draw(rng, count, **rule):
        known.append(task.draw(rng, count, **rule))
        return known[-1]

    def answers(inputs):
        (drawn,) = (of for of in known if of.inputs is inputs)
        return np.where(drawn.weights[..., None] > 0, drawn.targets, 0.5)

    found = measures.measure(task._replace(draw=draw), rule, answers, 300)
    assert found["test_right"] == 1
    assert found["test_loss"] < 1e-6
    assert found.get("test_right_ten_times_longer", 1) == 1
    if name != "waves":  # which is the same each time
        assert found["baseline_right"] < 0.5 and found["baseline_loss"] > 1e-3


def test_baselines_are_those_of_theory():
    """The variance of a sum of two uniform numbers; ten symbols of eight guessed; one of four orders."""

    def baseline(name, **rule):
        task = TASKS[name]
        rule = {**task.rule, **rule}
        found = measures.measure(
            task, rule, lambda inputs: np.zeros((*inputs.shape[:2], len(task.outputs))), 4000
        )
        return found["baseline_loss"]

    assert baseline("adding", length=10) == pytest.approx(1 / 6, rel=0.05)
    assert baseline("copy", length=20) == pytest.approx(10 * math.log(8) / 40, rel=0.01)
    assert baseline("temporal-order", length=20) == pytest.approx(math.log(4), rel=0.01)


def test_a_sequence_is_right_if_all_its_counted_answers_are():
    targets = np.zeros((3, 2, 1))
    weights = np.array([[1, 1], [1, 1], [1, 0]])
    sequences = Sequences(targets, targets, weights)
    answers = np.array([[0.48, -0.48], [0.2, 0.5], [0.1, 9.0]])[..., None]
    right = measures.is_right(TASKS["generated-spikes"], answers, sequences)
    assert right.tolist() == [True, False, True]


@pytest.mark.parametrize("letters, wrong_from, expected", [("ab", 38, 37), ("ab", 1, 0), ("abc", 99, 45)])
def test_the_longest_string_up_to_which_all_are_right(letters, wrong_from, expected):
    task, rule = perfect("anbn" if letters == "ab" else "anbncn")

    def answers(inputs):
        numbers = inputs[..., 1].sum(axis=1).astype(int)
        right = grammars.counting(letters, numbers).targets
        right[numbers == wrong_from, 1, :2] = 0.4, 0.6  # an a may follow too
        return right

    assert measures.longest_right(task, answers, rule["longest"]) == expected


# -- a run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "adding"
    assert synthetic.main(["--length", "8", *TINY, "--out", str(out)]) == 0
    return out


def test_a_run_folder_is_whole(run):
    assert {path.name for path in run.iterdir()} == {
        *("README.md", "config.json", "metrics.json", "history.csv", "learning_curve.png"),
        *("sequence.png", "model.keras", "saved_model", "checkpoint.npz"),
    }
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["main_measure"] == {"name": "test_loss", "better": "lower", "value": metrics["test_loss"]}
    assert "Bai et al. 2018" in metrics["published"]


def test_the_saved_model_answers_with_the_measured_error(run):
    inputs, targets, _ = remembering.adding(rng([2]), 20, 8)
    answers = keras_gates.load(run / "saved_model")(inputs)
    metrics = json.loads((run / "metrics.json").read_text())
    error = np.mean((np.asarray(answers)[:, -1] - targets[:, -1]) ** 2)
    assert error == pytest.approx(metrics["test_loss"], rel=1e-4)


def test_an_interrupted_run_resumes_to_the_same_bits(run, tmp_path, monkeypatch):
    out = tmp_path / "cut"
    begin = Keeper.on_epoch_begin

    def stop(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "on_epoch_begin", stop)
        assert synthetic.main(["--length", "8", *TINY, "--out", str(out)]) == 130
    assert synthetic.main(["--resume", str(out)]) == 0
    ours, theirs = (keras.saving.load_model(folder / "model.keras").get_weights() for folder in (out, run))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["copy", "periodic", "anbn"])
def test_a_task_of_each_kind_trains(name, tmp_path):
    out = tmp_path / "run"
    arguments = ["--task", name, *TINY, "--epochs", "1", "--out", str(out)]
    assert synthetic.main(arguments) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["main_measure"]["name"] in metrics
    assert math.isfinite(metrics["test_loss"])


def test_inspect_takes_the_numbers_of_test_sequences(run, tmp_path, capsys):
    out = tmp_path / "inspection"
    assert inspect.main([str(run), "0", "3", "--out", str(out)]) == 0
    assert {"index.html", "text-1.html", "text-2.html"} <= {path.name for path in out.iterdir()}
    assert inspect.main([str(run), "first", "--out", str(tmp_path / "other")]) == 2
    assert "'first' is not the number of a test example: expected 0 to 19" in capsys.readouterr().err


BAD_INPUT = {
    "an option of another task": (["--function", "cosine"], "--function has no use in --task adding"),
    "no room for two marks": (["--length", "1"], "expected at least 2"),
    "too short for its order": (["--task", "temporal-order", "--length", "5"], "expected at least 20"),
    "short sequences of no length": (["--task", "reber", "--shortest", "5"], "reber, which has no --length"),
    "none that is shorter": (["--length", "9", "--shortest", "10"], "expected a number from 2 to --length 9"),
    "unknown task": (["--task", "addition"], "invalid choice: 'addition'"),
    "too few parameters": (["--parameters", "3"], "--parameters 3 is too few"),
    "a look into what is not kept": (["--trace", "--no-model"], "which --no-model does not keep"),
    "nothing to make hard": (["--cell", "indrnn", "--hard"], "--hard: the cell indrnn takes neither"),
    "no file of a cell": (["--cell", "none.py:MyCell"], "there is no file none.py"),
}


@pytest.mark.parametrize("arguments, sentence", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_ends_in_one_sentence(arguments, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert synthetic.main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("cell", "names"), {"lstm": ("tanh", "sigmoid"), "min-gru": ("linear", "sigmoid")}.items()
)
def test_hard_replaces_each_sigmoid_and_tanh_of_a_cell(cell, names):
    cells = []
    for given in ([], ["--hard"]):
        options = synthetic.train_parser().parse_args(["--cell", cell, *TINY, *given])
        model = network(TASKS["anbn"], options)
        cells.append(model.get_layer(f"{cell.replace('-', '_')}_1").cell)
    for name, one, hard in zip(("activation", "recurrent_activation"), names, names, strict=True):
        assert getattr(cells[0], name) is keras.activations.get(one)
        assert getattr(cells[1], name) is keras.activations.get(one if one == "linear" else f"hard_{hard}")


# -- a cell of one's own, and a budget

MY_CELL = """
from keras_gates.cells import GatedCell, register


@register("synthetic-test-cell")
class MyCell(GatedCell):
    gates, states, remember = ("f", "n"), ("h",), "f"

    def step(self, x, states, recur):
        (h,) = states
        f, n = self.split(x + recur(h))
        f, n = self.recurrent_activation(f), self.activation(n)
        h = f * h + (1 - f) * n
        return (h,), {"f": f, "n": n}
"""


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr("keras_gates.cells.base._CELLS", keras_gates.cell_classes())


def test_a_cell_in_a_file_of_the_users_trains_within_a_budget(tmp_path, registry):
    path = tmp_path / "mine.py"
    path.write_text(MY_CELL)
    for attempt in ("one", "two"):  # the file is run once in a process
        out = tmp_path / attempt
        given = ["--cell", f"{path}:MyCell", *TINY, "--length", "8", "--epochs", "1", "--parameters", "300"]
        assert synthetic.main([*given, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    # U and b of two gates, the two features' W, and the output: 2 (u² + 3 u) + u + 1 at most 300: u = 10
    assert metrics["parameters"] == 2 * (10**2 + 3 * 10) + 10 + 1
    assert json.loads((out / "config.json").read_text())["options"]["units"] == 10
    given = ["--epochs", "2", "--patience", "9", "--cell", f"{path}:MyCell"]
    assert synthetic.main(["--resume", str(out), *given, "--out", str(tmp_path / "longer")]) == 0


def test_a_file_without_such_a_cell_is_refused_in_one_sentence(tmp_path, capsys, registry):
    path = tmp_path / "mine.py"
    for text, sentence in {
        "MyCell = 3": "has no class MyCell that is a keras_gates.cells.GatedCell",
        "import nothing_of_this_name": "cannot be run: No module named 'nothing_of_this_name'",
    }.items():
        path.write_text(text)
        assert synthetic.main(["--cell", f"{path}:MyCell", *TINY]) == 2
        said = capsys.readouterr().err
        assert sentence in said and len(said.splitlines()) == 1


def test_the_budget_of_a_cell_with_modules_counts_from_its_least_units(tmp_path):
    out = tmp_path / "run"
    given = ["--cell", "clockwork", "--length", "8", *TINY, "--epochs", "1", "--parameters", "100"]
    assert synthetic.main([*given, "--out", str(out)]) == 0
    units = json.loads((out / "config.json").read_text())["options"]["units"]
    assert units * (units + 3) + units + 1 <= 100 < (units + 1) * (units + 4) + units + 2


def test_resume_runs_no_file_that_only_the_run_names(run, tmp_path, capsys, registry):
    hostile, ran = tmp_path / "hostile.py", tmp_path / "ran"
    hostile.write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n{MY_CELL}")
    foreign = tmp_path / "foreign"
    shutil.copytree(run, foreign)
    config = json.loads((foreign / "config.json").read_text())
    config["options"]["cell"] = cell = f"{hostile}:MyCell"
    (foreign / "config.json").write_text(json.dumps(config))
    assert synthetic.main(["--resume", str(foreign), "--epochs", "9"]) == 2
    assert f"give --cell {cell}" in capsys.readouterr().err
    assert not ran.exists()
    assert synthetic.main(["--resume", str(foreign), "--epochs", "9", "--cell", f"{hostile}:Other"]) == 2
    assert synthetic.main(["--resume", str(foreign), "--epochs", "9", "--cell", "gru"]) == 2
    assert "leave out --cell" in capsys.readouterr().err
