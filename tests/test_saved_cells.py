"""What is saved comes back to the last bit: `.keras` files, here and in a new process, and SavedModels."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from laws import ROWS, SETTINGS
from problem import BATCH, FEATURES, TIME

import keras_gates

MAIN = [row for row in ROWS if row.every_law]
x = np.random.default_rng(5).normal(size=(BATCH, TIME, FEATURES)).astype("float32")

each_cell = pytest.mark.parametrize("row", MAIN, ids=str)

LOAD_IN_A_NEW_PROCESS = """
import sys
import keras_gates
import keras
import numpy as np
folder = sys.argv[1]
x = np.load(f"{folder}/x.npy")
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    np.savez(f"{folder}/{name}.npz", *[np.asarray(output) for output in model(x)])
"""

SERVE_WITHOUT_KERAS = """
import sys
sys.modules.update(keras=None, keras_gates=None)
import numpy as np
import tensorflow as tf
folder = sys.argv[1]
served = tf.saved_model.load(f"{folder}/served")
outputs = served.signatures["serving_default"](inputs=np.load(f"{folder}/x.npy"))
np.savez(f"{folder}/served.npz", **{name: value.numpy() for name, value in outputs.items()})
"""


def run_python(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def file_name(row):
    return f"row{MAIN.index(row)}"


def settings_of(row):
    return {name: value for name, value in SETTINGS.items() if row.takes(name)}


def model_of(row):
    """The cell in every kind of layer, with a callable and with objects as its arguments."""

    def cell():
        return row.cell(**settings_of(row))

    sequence = keras.Input((None, FEATURES))
    model = keras.Model(
        sequence,
        [
            keras_gates.RNN(cell(), return_sequences=True, go_backwards=True)(sequence),
            keras.layers.Bidirectional(keras.layers.RNN(cell()))(sequence),
            keras.layers.Bidirectional(keras_gates.RNN(cell()), merge_mode="sum")(sequence),
            keras.layers.RNN(keras.layers.StackedRNNCells([cell(), cell()]))(sequence),
        ],
    )
    for k, weight in enumerate(model.weights):
        if weight.dtype == "float32":
            weight.assign(np.random.default_rng(k).normal(0, 0.3, weight.shape))
    return model


@pytest.fixture(scope="module")
def models():
    return {row: model_of(row) for row in MAIN}


@pytest.fixture(scope="module")
def answers(models):
    return {row: model(x) for row, model in models.items()}


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    """Every model as a `.keras` file, and what each gives in a process that imports this package alone."""
    folder = tmp_path_factory.mktemp("saved")
    np.save(folder / "x.npy", x)
    for row, model in models.items():
        model.save(folder / f"{file_name(row)}.keras")
    run_python(LOAD_IN_A_NEW_PROCESS, folder, *map(file_name, models))
    return folder


@each_cell
def test_keras_file(row, models, answers, folder):
    """Loaded again: the same outputs bit for bit, the same penalties, the same config, the same callable."""
    model, again = models[row], keras.saving.load_model(folder / f"{file_name(row)}.keras")
    for ours, theirs in zip(answers[row], again(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.to_json() == model.to_json()
    assert len(model.losses) == len(again.losses) > 0
    np.testing.assert_array_equal(model.losses, again.losses)
    if row.takes("activation"):
        cell = again.layers[1].cell
        assert getattr(cell, "cell", cell).activation is SETTINGS["activation"]


@each_cell
def test_keras_file_in_a_new_process(row, answers, folder):
    """After `import keras_gates` alone, no custom objects given."""
    with np.load(folder / f"{file_name(row)}.npz") as outputs:
        for ours, name in zip(answers[row], outputs.files, strict=True):
            np.testing.assert_array_equal(ours, outputs[name])


@each_cell
def test_config_round_trip(row):
    """A cell made again from its config, or from Keras' serialized form, has the same config."""
    cell = row.cell(**settings_of(row), dtype="mixed_bfloat16")
    again = type(cell).from_config(cell.get_config())
    deserialized = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    assert cell.get_config() == again.get_config() == deserialized.get_config()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One SavedModel with an output for each cell: what the model gives as a graph, and what is served where
    neither Keras nor this package can be imported."""
    folder = tmp_path_factory.mktemp("served")
    sequence = keras.Input((None, FEATURES))
    outputs = {file_name(row): row.layer(return_state=False)(sequence) for row in MAIN}
    model = keras.Model(sequence, outputs)
    keras_gates.export(model, folder / "served")
    np.save(folder / "x.npy", x)
    run_python(SERVE_WITHOUT_KERAS, folder)
    as_declared = tf.function(model, input_signature=[tf.TensorSpec((None, None, FEATURES))])
    with np.load(folder / "served.npz") as served:
        return as_declared(x), dict(served)


@each_cell
def test_saved_model_without_keras(row, served):
    of_model, of_saved_model = (outputs[file_name(row)] for outputs in served)
    np.testing.assert_array_equal(of_model, of_saved_model)
