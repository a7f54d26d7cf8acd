"""Exported models: the same numbers as the model, anywhere, or nothing at all."""

import json
import os
import pathlib
import pickle
import subprocess
import sys
import textwrap
import time

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
    return one_layer(cell)[0]


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


def test_batch_and_time_stay_open(tmp_path):
    model = number_model()
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


# -- step and trace

STEPS = 7


def randomize(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def one_layer(cell):
    """One layer that gives an output at every step, on numbers: the model and its input."""
    layer = keras_gates.RNN(keras_gates.cell_classes()[cell](4), return_sequences=True, name="only")
    return randomize(keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(2)])), normal(
        2, STEPS, 3
    )


def three_layers(*names):
    """Three layers, normalised, with a residual connection, on masked tokens; one output for a sequence."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    first, second, third = (keras_gates.cell_classes()[name](4, dropout=0.3) for name in names)
    for cell in first, second:
        layer = keras_gates.RNN(cell, return_sequences=True)
        x = keras.layers.Add()([x, keras.layers.LayerNormalization()(layer(x))])
    x = keras.layers.Dropout(0.3)(keras_gates.RNN(third)(x))
    # Padding before, within and after the sequence, and a sequence of nothing but padding.
    sequences = [[1, 2, 3, 4, 5, 6, 7], [0, 0, 8, 0, 3, 0, 0], [2, 0, 0, 0, 0, 0, 0], [0] * STEPS]
    return randomize(keras.Model(tokens, keras.layers.Dense(2)(x))), np.array(sequences)


NAMES = list(keras_gates.cell_classes())
# Every cell in a model of three layers, three cells at a time (the first ones end up in two models).
TRIPLES = [(NAMES[k - 2], NAMES[k - 1], NAMES[k]) for k in range(0, len(NAMES), 3)]


@pytest.mark.parametrize(
    ("make", "names"),
    [*((one_layer, [name]) for name in NAMES), *((three_layers, three) for three in TRIPLES)],
)
def test_every_way_through_a_model_gives_what_the_model_gives(make, names, tmp_path):
    model, x = make(*names)
    keras_gates.export(model, tmp_path / "model", ("step", "trace"))
    served = keras_gates.load(tmp_path / "model")
    whole = model(x).numpy()
    np.testing.assert_allclose(served(x), whole, rtol=0, atol=1e-6)
    for length in 1, 2, 3, STEPS:
        stream = served.stream(batch_size=len(x))
        given = [stream.push(x[:, t : t + length]).numpy() for t in range(0, STEPS, length)]
        by_chunk = np.concatenate(given, axis=1) if make is one_layer else given[-1]
        np.testing.assert_allclose(by_chunk, whole, rtol=0, atol=1e-5)
    traced, told = served.trace(x), keras_gates.trace(model, x)
    np.testing.assert_allclose(traced["outputs"], whole, rtol=0, atol=1e-5)
    for place, quantities in told.items():
        for name, values in quantities.items():
            np.testing.assert_allclose(traced[f"{place}_{name}"], values, rtol=0, atol=1e-5, equal_nan=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model of text and one of numbers by name: the Keras model, and the folder it was exported to."""
    models = {"numbers": number_model("peephole"), "texts": word_model()}
    folder = tmp_path_factory.mktemp("exported")
    for name, model in models.items():
        keras_gates.export(model, folder / name, metadata={"classes": ["bad", "good"]})
    return {name: (model, folder / name) for name, model in models.items()}


def word_model():
    vectorize = keras.layers.TextVectorization(max_tokens=20)
    vectorize.adapt(TEXTS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(20, 4, mask_zero=True)(vectorize(inputs))
    x = keras_gates.LSTM(3, return_sequences=True, name="lower")(x)
    return randomize(keras.Model(inputs, keras.layers.Dense(1)(keras_gates.GRU(3, name="upper")(x))))


def test_one_step_and_a_chunk_of_one_step_differ_in_their_shape_alone(exported):
    _, path = exported["numbers"]
    served, x = keras_gates.load(path), normal(1, 1, 3)
    step, chunk = served.stream().push(x[:, 0]), served.stream().push(x)
    assert step.shape == (1, 2)
    np.testing.assert_array_equal(step[:, None], chunk)


def test_streams_do_not_mix(exported):
    model, path = exported["numbers"]
    served, x = keras_gates.load(path), normal(5, STEPS, 3)
    streams = [served.stream() for _ in x]
    given = [[stream.push(x[k : k + 1, t]) for k, stream in enumerate(streams)] for t in range(STEPS)]
    np.testing.assert_allclose(np.array(given).squeeze(2).swapaxes(0, 1), model(x), rtol=0, atol=1e-5)


def test_reset_returns_to_the_start(exported):
    served, x = keras_gates.load(exported["numbers"][1]), normal(1, STEPS, 3)
    stream = served.stream()
    first = stream.push(x)
    assert not np.array_equal(stream.push(x), first)
    stream.reset()
    np.testing.assert_array_equal(stream.push(x), first)


def test_a_state_pickled_here_goes_on_in_a_process_without_keras(exported, tmp_path):
    model, path = exported["numbers"]
    x = normal(1, STEPS, 3)
    stream = keras_gates.load(path).stream()
    stream.push(x[:, :3])
    (tmp_path / "state").write_bytes(pickle.dumps(stream.state))
    np.save(tmp_path / "rest.npy", x[:, 3:])
    printed = run(
        f"""
        import json, pickle
        import numpy as np, tensorflow as tf

        step = tf.saved_model.load({str(path)!r}).signatures["step"]
        states = pickle.load(open({str(tmp_path / "state")!r}, "rb"))
        given = []
        for x in np.load({str(tmp_path / "rest.npy")!r}).swapaxes(0, 1):
            result = step(inputs=tf.constant(x), **{{name: tf.constant(states[name]) for name in states}})
            states = {{name: result[name] for name in states}}
            given.append(result["outputs"].numpy().tolist())
        print(json.dumps(given))
        """
    )
    np.testing.assert_allclose(np.array(json.loads(printed))[:, 0], model(x)[0, 3:], rtol=0, atol=1e-5)
    other = keras_gates.load(path).stream(state=pickle.loads((tmp_path / "state").read_bytes()))
    np.testing.assert_array_equal(other.push(x[:, 3:]), stream.push(x[:, 3:]))


def test_words_are_pushed_as_they_come(exported):
    model, path = exported["texts"]
    served = keras_gates.load(path)
    stream = served.stream()
    for word in ["a", "bad", "film"]:
        last = stream.push(word)
    expected = model(tf.constant(["a bad film"]))
    np.testing.assert_allclose(last, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(served.stream().push("a bad film"), expected, rtol=0, atol=1e-5)
    pair = served.stream(batch_size=2)
    pair.push(["a", "a bad film and"])
    np.testing.assert_allclose(
        pair.push(["good film", "a long one"]), model(tf.constant(TEXTS[:2])), rtol=0, atol=1e-5
    )


def test_what_is_wrong_with_a_push_or_a_state_is_said_and_changes_nothing(exported):
    served = keras_gates.load(exported["numbers"][1])
    stream = served.stream(batch_size=2)
    before = stream.state
    for given, sentence in [
        (np.ones((3, 3)), r"shape \(2, 3\); got \(3, 3\)"),
        (np.ones((2, 4, 5)), r"shape \(2, any, 3\); got \(2, 4, 5\)"),
        (np.ones((2, 0, 3)), "A chunk must hold one step or more; got 0 steps"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            stream.push(given)
    with pytest.raises(ValueError, match="`state` must be a dict of only_c, only_h; got only_c"):
        stream.state = {"only_c": before["only_c"]}
    with pytest.raises(ValueError, match=r"`only_h` must have the shape \(2, 4\); got \(1, 4\)"):
        stream.state = {**before, "only_h": np.zeros((1, 4))}
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer; got 0"):
        served.stream(batch_size=0)
    for name, value in stream.state.items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ValueError, match="A chunk must hold one step or more"):
        keras_gates.load(exported["texts"][1]).stream().push("  ")


def test_what_is_told_beside_the_graph(exported):
    model, path = exported["texts"]
    about = keras_gates.load(path).metadata
    assert about["classes"] == ["bad", "good"]
    assert about["vocabulary"] == model.layers[1].get_vocabulary()
    assert about["cells"] == {"lower": "LSTMCell", "upper": "GRUCell"}
    assert about["keras_gates"] == keras_gates.__version__
    assert set(about["endpoints"]) == {"serve", "step", "initial_state", "tokenize", "trace"}


@pytest.mark.parametrize("name", ["numbers", "texts"])
def test_the_readme_beside_the_graph_runs_as_it_stands(exported, name):
    """The code of README.txt, put together, in a process with TensorFlow alone."""
    path = exported[name][1]
    text = (path / "README.txt").read_text()
    code = "\n".join(
        line[4:] for line in text.partition("Signatures")[0].splitlines() if line.startswith("    ")
    )
    code = code.replace("THIS FOLDER", str(path))
    printed = run(code + '\nprint(outputs["outputs"].shape, result["outputs"].shape, len(everything))')
    assert printed == {"numbers": "(1, 5, 2) (1, 2) 7\n", "texts": "(2, 1) (1, 1) 11\n"}[name]


def test_what_is_loaded_can_be_trained_further_through_every_endpoint(exported):
    saved = keras_gates.load(exported["numbers"][1]).saved
    serve, trace = saved.signatures["serve"], saved.signatures["trace"]
    x, target, losses = normal(2, STEPS, 3), np.ones((2, STEPS, 2), "float32"), []
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((serve(inputs=tf.constant(x))["outputs"] - target) ** 2)
        losses.append(float(loss))
        gradients = tape.gradient(loss, serve.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        for variable, gradient in zip(serve.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.05 * gradient)
    assert losses[-1] < losses[0] / 2
    trained = serve(inputs=tf.constant(x))["outputs"]
    np.testing.assert_allclose(trace(inputs=tf.constant(x))["outputs"], trained, rtol=0, atol=1e-5)


def refused(name):
    """A model with a layer that reads other steps than the one it is at, and that layer's name."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4)(tokens)
    forth = keras_gates.LSTM(4, return_sequences=True)
    nested = keras.Sequential(
        [
            keras.Input((None, 4)),
            keras_gates.GRU(4, return_sequences=True),
            keras.layers.Bidirectional(forth, name=name),
        ]
    )
    outputs = {
        "bidirectional": lambda: keras.layers.Bidirectional(forth, name=name)(x),
        "backwards": lambda: keras_gates.LSTM(4, go_backwards=True, return_sequences=True, name=name)(x),
        "kept_axis": lambda: keras.layers.GlobalAveragePooling1D(name=name, keepdims=True)(forth(x)),
        "same": lambda: keras.layers.Conv1D(4, 3, padding="same", name=name)(forth(x)),
        "narrow": lambda: keras.layers.Conv1D(4, 3, name=name)(forth(x)),
        "attention": lambda: keras.layers.Attention(name=name)([forth(x), x]),
        "end_to_all": lambda: keras.layers.Add(name=name)([x, keras_gates.LSTM(4)(x)[:, None]]),
        "decoder": lambda: keras_gates.GRU(4, name=name)(x, initial_state=[keras_gates.GRU(4)(x)]),
        "deep": lambda: nested(x),
    }[name]()
    return randomize(keras.Model(tokens, outputs))


FUTURE = "bidirectional backwards kept_axis same narrow attention end_to_all decoder deep"


@pytest.mark.parametrize("name", FUTURE.split())
def test_a_model_that_reads_the_future_is_refused_by_the_name_of_the_layer(name, tmp_path):
    with pytest.raises(ValueError, match=f"its layer '{name}' .* reads other steps than the one it is at"):
        keras_gates.export(refused(name), tmp_path / "model", "step")
    assert not list(tmp_path.iterdir())


POOLINGS = [
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalMaxPooling1D,
    keras_gates.AttentionPooling,
    keras_gates.MeanPooling,
    keras_gates.SumPooling,
    keras_gates.MaxPooling,
]


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.__name__)
@pytest.mark.parametrize("mask", [False, True], ids=["plain", "masked"])
def test_pooling_over_time_runs_along_with_a_stream(pooling, mask, tmp_path):
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=mask)(tokens)
    model = randomize(keras.Model(tokens, pooling(name="pool")(keras_gates.GRU(4, return_sequences=True)(x))))
    keras_gates.export(model, tmp_path / "model")
    served = keras_gates.load(tmp_path / "model")
    given = np.array([[3, 1, 4, 1, 5], [2, 7, 0, 0, 0], [0, 0, 8, 0, 2], [0, 6, 0, 5, 3]])
    by_step, in_chunks = served.stream(4), served.stream(4)
    for t in range(5):
        np.testing.assert_allclose(by_step.push(given[:, t]), model(given[:, : t + 1]), rtol=0, atol=1e-5)
    in_chunks.push(given[:, :2])
    np.testing.assert_allclose(in_chunks.push(given[:, 2:]), served(given), rtol=0, atol=1e-5)


def test_a_tokenizer_that_cuts_chunks_otherwise_than_the_whole_is_refused(tmp_path):
    model = sentiment_like(lambda texts: tf.strings.join(["start", texts], separator=" "))
    with pytest.raises(ValueError, match="its layer 'tokens'"):
        keras_gates.export(model, tmp_path / "model", "step")
    keras_gates.export(sentiment_like(None), tmp_path / "model", "step")


def sentiment_like(standardize):
    vectorize = keras.layers.TextVectorization(standardize=standardize, name="tokens")
    vectorize.adapt(TEXTS)
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(20, 4, mask_zero=True)(vectorize(inputs))
    return keras.Model(inputs, keras_gates.GRU(3)(x))


def test_by_default_a_model_gets_the_endpoints_it_can_have(tmp_path):
    keras_gates.export(refused("bidirectional"), tmp_path / "model")
    served = keras_gates.load(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no endpoint 'step'.* its layer 'bidirectional'"):
        served.stream()
    assert "bidirectional_backward_f" in served.trace([[1, 2]])
    keras_gates.export(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), tmp_path / "dense")
    with pytest.raises(ValueError, match=r"no endpoint 'trace'.* Nothing in .* is recurrent"):
        keras_gates.load(tmp_path / "dense").trace([[1, 2, 3]])
    with pytest.raises(ValueError, match="`endpoints` must be one of 'serve', 'step', 'trace'; got 'steps'"):
        keras_gates.export(number_model(), tmp_path / "other", ["steps"])
    with pytest.raises(TypeError, match="`metadata` must be a dict that JSON can hold"):
        keras_gates.export(number_model(), tmp_path / "other", metadata={"a": object()})


def test_a_learned_initial_state_is_where_a_stream_starts(tmp_path):
    layer = keras_gates.LSTM(3, learn_initial_state=True, return_sequences=True)
    model = randomize(keras.Sequential([keras.Input((None, 3)), layer]))
    keras_gates.export(model, tmp_path / "model", "step")
    x = normal(2, STEPS, 3)
    given = keras_gates.load(tmp_path / "model").stream(2).push(x)
    np.testing.assert_allclose(given, model(x), rtol=0, atol=1e-5)


def test_a_killed_export_leaves_no_folder_that_loads(tmp_path):
    """Killed at many moments: at the path there is nothing, or the whole model."""
    code = (
        "import keras, keras_gates, sys\n"
        "model = keras.Sequential([keras.Input((None, 3)), keras_gates.LSTM(256)])\n"
        "for k in range(99):\n    print(k, flush=True); keras_gates.export(model, f'model{k}', ())"
    )
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(keras_gates.__file__).parents[1])}
    for delay in 0.2, 0.3, 0.4, 0.5:
        folder = tmp_path / str(delay)
        folder.mkdir()
        child = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        for line in child.stdout:
            if line == "1\n":
                break
        time.sleep(delay)
        child.kill()
        child.wait(60)
        child.stdout.close()
        for path in folder.glob("model*"):
            assert keras_gates.load(path)(np.ones((1, 2, 3))).shape == (1, 256)
