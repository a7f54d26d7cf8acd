"""Exported models: the same numbers as the model, anywhere, or nothing at all."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import keras_gates

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is written with the TensorFlow backend", allow_module_level=True)

TEXTS = ["a good film", "a bad film and a long one", "good"]


def text_model():
    vectorize = keras.layers.TextVectorization(max_tokens=20)
    vectorize.adapt(TEXTS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(20, 4, mask_zero=True)(vectorize(inputs))
    x = keras.layers.Bidirectional(keras_gates.PeepholeLSTM(3))(x)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))


def number_model(cell="lstm"):
    layer = keras_gates.RNN(keras_gates.cells()[cell](4), return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(2)])
    model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    return model


def normal(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def run(code, **environment):
    """Run code in a process that can import neither Keras nor this package; return what it printed."""
    blocked = "import sys; sys.modules.update(keras=None, keras_gates=None)\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout


@pytest.mark.parametrize("cell", keras_gates.cells())
def test_every_cell_serves_what_the_model_says_for_any_batch_and_time(cell, tmp_path):
    model = number_model(cell)
    keras_gates.export(model, tmp_path / "model")
    served = keras_gates.load(tmp_path / "model")
    for shape in (2, 5, 3), (1, 1, 3), (7, 11, 3):
        x = normal(*shape)
        np.testing.assert_allclose(served(x), model(x), rtol=0, atol=1e-6)


def test_answers_without_keras_and_without_this_package(tmp_path):
    model = text_model()
    keras_gates.export(model, tmp_path / "model")
    printed = run(
        f"""
        import json
        import tensorflow as tf

        served = tf.saved_model.load({str(tmp_path / "model")!r}).signatures["serving_default"]
        print(json.dumps(served(inputs=tf.constant({TEXTS}))["outputs"].numpy().tolist()))
        """
    )
    np.testing.assert_allclose(json.loads(printed), model(tf.constant(TEXTS)), rtol=0, atol=1e-6)


def test_text_may_be_a_list_an_array_or_a_tensor(tmp_path):
    model = text_model()
    keras_gates.export(model, tmp_path / "model")
    served = keras_gates.load(tmp_path / "model")
    expected = model(tf.constant(TEXTS))
    encoded = [text.encode() for text in TEXTS]
    for texts in TEXTS, tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), encoded, tf.constant(TEXTS):
        np.testing.assert_allclose(served(texts), expected, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def tokens_and_features(tmp_path_factory):
    """A model of two inputs, int32 and float32, and two outputs: as it was, and as it is served."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    features = keras.Input((None, 3), name="features")
    x = keras.layers.Concatenate()([keras.layers.Embedding(9, 2)(tokens), features])
    sequence, last = keras_gates.GRU(4, return_sequences=True, return_state=True)(x)
    model = keras.Model(
        {"tokens": tokens, "features": features}, {"sequence": sequence, "last": keras.layers.Dense(2)(last)}
    )
    path = tmp_path_factory.mktemp("two") / "model"
    keras_gates.export(model, path)
    return model, keras_gates.load(path)


@pytest.mark.parametrize("integers", ["int64", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("floats", ["float64", "float32", "float16", "int64"])
def test_any_convertible_dtype_is_taken(tokens_and_features, integers, floats):
    model, served = tokens_and_features
    tokens, features = np.array([[0, 1, 1]]).astype(integers), np.ones((1, 3, 3), floats)
    expected = model({"tokens": tokens.astype("int32"), "features": features.astype("float32")})
    for kind in np.asarray, tf.constant, np.ndarray.tolist:
        given = {"tokens": kind(tokens), "features": kind(features)}
        for name, output in served(given).items():
            np.testing.assert_allclose(output, expected[name], rtol=0, atol=1e-6)


GOOD = {"tokens": [[1, 2]], "features": np.ones((1, 2, 3))}


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ([[1, 2]], ValueError, "a dict of features, tokens; got list"),
        ({"tokens": [[1]]}, ValueError, "a dict of features, tokens; got tokens"),
        ({**GOOD, "tokens": [[1.5, 2.0]]}, TypeError, "`tokens` must be int32; float64 does not convert"),
        ({**GOOD, "tokens": [[1, 2**40]]}, ValueError, "`tokens` must be int32; some .* out of range"),
        ({**GOOD, "tokens": [["a", "b"]]}, TypeError, "`tokens` must be int32; string does not convert"),
        ({**GOOD, "tokens": [[1], [1, 2]]}, ValueError, "`tokens` must be numbers in a rectangular array"),
        ({**GOOD, "features": None}, ValueError, "`features` must be numbers in a rectangular array"),
        ({**GOOD, "features": np.ones((1, 2, 4))}, ValueError, r"shape \(any, any, 3\); got \(1, 2, 4\)"),
    ],
)
def test_bad_inputs_get_a_sentence(tokens_and_features, given, error, sentence):
    with pytest.raises(error, match=sentence):
        tokens_and_features[1](given)


def test_numbers_for_text_get_a_sentence(tmp_path):
    keras_gates.export(text_model(), tmp_path / "model")
    served = keras_gates.load(tmp_path / "model")
    with pytest.raises(TypeError, match="`inputs` must be strings"):
        served([1.0])
    with pytest.raises(ValueError, match=r"shape \(any\); got \(\)"):
        served("a text, not a list of texts")


def test_models_that_cannot_be_exported_say_why(tmp_path):
    with pytest.raises(TypeError, match="`model` must be a Keras model; got 3"):
        keras_gates.export(3, tmp_path / "model")
    with pytest.raises(ValueError, match="does not declare its inputs"):
        keras_gates.export(keras.Sequential([keras_gates.LSTM(2)]), tmp_path / "model")
    wrapped = keras.layers.Bidirectional(keras_gates.LSTM(2, stateful=True), name="memory")
    stateful = keras.Sequential([keras.Input((None, 3), batch_size=1), wrapped])
    with pytest.raises(ValueError, match="'memory' has stateful=True"):
        keras_gates.export(stateful, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_nothing_that_stands_at_the_path_is_touched(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in "file", "folder", "link":
        with pytest.raises(FileExistsError, match=f"{name} exists already"):
            keras_gates.export(number_model(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"could not be written to .*model: File exists"):
        keras_gates.export(number_model(), tmp_path / "file" / "model")


def test_no_model_and_a_damaged_one_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="no SavedModel at"):
        keras_gates.load(tmp_path)
    keras_gates.export(number_model(), tmp_path / "model")
    (tmp_path / "model" / "variables" / "variables.index").unlink()
    with pytest.raises(ValueError, match="is damaged"):
        keras_gates.load(tmp_path / "model")


def in_namespace(script, mount, folder):
    """Run a script with a file system of its own mounted at a folder, or skip where that is not allowed."""
    possible = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
    if not possible:
        pytest.skip("this machine does not let us mount a file system of our own")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(keras_gates.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts as Linux does")
def test_a_full_disk_leaves_nothing_behind(tmp_path):
    script = """
import os, subprocess
import keras, keras_gates
model = keras.Sequential([keras.Input((None, 3)), keras_gates.LSTM(64)])
for kilobytes in 8, 60, 90, 100, 120, 200, 4000:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", "."], check=True)
    try:
        keras_gates.export(model, "model")
        print("written", keras_gates.load("model")([[[1, 2, 3]]]).shape)
    except OSError as error:
        print(error)
    print(os.listdir())
"""
    lines = in_namespace(script, "mount -t tmpfs -o size=4m tmpfs . && cd .", tmp_path).splitlines()
    full = ["The model could not be written to model: No space left on device.", "[]"]
    assert lines[:2] == full
    assert lines[-2:] == ["written (1, 64)", "['model']"]
    assert all(lines[i : i + 2] in (full, lines[-2:]) for i in range(0, len(lines), 2))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts as Linux does")
def test_a_read_only_disk_is_one_sentence(tmp_path):
    script = """
import keras, keras_gates
try:
    keras_gates.export(keras.Sequential([keras.Input((None, 3)), keras_gates.LSTM(2)]), "model")
except OSError as error:
    print(error)
"""
    printed = in_namespace(script, "mount -t tmpfs -o ro tmpfs . && cd .", tmp_path)
    assert printed == "The model could not be written to model: Read-only file system.\n"
