"""Streams whose steps NumPy computes: what they give is what TensorFlow's give, for every cell and layer."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import keras_gates

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is written with the TensorFlow backend", allow_module_level=True)

from kernel_problems import CELLS  # noqa: E402
from test_opened import normal, randomize  # noqa: E402

from keras_gates.opened import Opened  # noqa: E402
from keras_gates.serving.endpoints.step import step  # noqa: E402
from keras_gates.serving.program import Graph, Program  # noqa: E402

TOKENS = np.array([[1, 2, 3, 4, 5], [0, 0, 8, 0, 3], [2, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
STEPS = TOKENS.shape[1]


def served(model, folder):
    keras_gates.export(randomize(model), folder / "model", "step")
    return keras_gates.load(folder / "model")


def named(name):
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def cells():
    """Every kernel with its options, every cell without one, and cells around and above others."""
    made = {named(name): make(4) for name, make in CELLS.items()}
    kinds = {type(cell) for cell in made.values()}
    made |= {named(name): cell(4) for name, cell in keras_gates.cell_classes().items() if cell not in kinds}
    made["residual"] = keras_gates.ResidualCell(keras_gates.GRUCell(4), project=True)
    made["zoneout"] = keras_gates.ZoneoutCell(keras_gates.LSTMCell(4), zoneout=0.3)
    made["stack"] = keras.layers.StackedRNNCells([keras_gates.LSTMCell(4), keras_gates.GRUCell(4)])
    made["of_keras"] = keras.layers.LSTMCell(4)
    made["learned"] = keras_gates.LSTMCell(4, learn_initial_state=True)
    return made


def of_cells():
    """A model of every cell side by side, in turns on masked tokens and on numbers."""
    tokens, numbers = (
        keras.Input((None,), dtype="int32", name="tokens"),
        keras.Input((None, 3), name="numbers"),
    )
    masked = keras.layers.Embedding(9, 3, mask_zero=True)(tokens)
    outputs = {
        name: keras_gates.RNN(cell, return_sequences=True, name=f"of_{name}")((masked, numbers)[k % 2])
        for k, (name, cell) in enumerate(cells().items())
    }
    return keras.Model([tokens, numbers], outputs)


def of_layers():
    """A model of the layers between, above and below recurrent ones."""
    tokens, numbers = (
        keras.Input((None,), dtype="int32", name="tokens"),
        keras.Input((None, 3), name="numbers"),
    )
    x = keras.layers.SpatialDropout1D(0.5)(keras.layers.Embedding(9, 3, mask_zero=True)(tokens))
    x = keras_gates.GRU(4, return_sequences=True, zero_output_for_mask=True)(x)
    x = keras.layers.LayerNormalization()(keras.layers.Dense(4, activation="relu")(x))
    y = keras_gates.LSTM(4, return_sequences=True)(keras.layers.Masking(0.5)(numbers))
    y = keras.layers.Add()([x, keras.layers.Dropout(0.5)(keras.layers.Dense(4, activation="sigmoid")(y))])
    normalized = keras_gates.NormalizedEmbedding(9, 3, mask_zero=True)(tokens)
    outputs = {
        "each": keras.layers.Dense(2, activation="softmax")(y),
        "last": keras.layers.Dense(2, activation="tanh")(keras_gates.LSTM(3)(normalized)),
        "joined": keras_gates.JoinSteps()([x, normalized]),
    }
    for pooling in (
        keras_gates.MeanPooling, keras_gates.SumPooling, keras_gates.MaxPooling, keras_gates.AttentionPooling,
        keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D,
    ):  # fmt: skip
        outputs[pooling.__name__] = keras.layers.Dense(2)(pooling()(x))
    return keras.Model([tokens, numbers], outputs)


def test_every_cell_gives_in_numpy_what_it_gives_in_tensorflow():
    """Step by step, by the graph that an export would hold."""
    opened = Opened(randomize(of_cells()))
    function, inputs = step(opened)
    specs = {name: tf.TensorSpec((len(TOKENS), *like.shape[1:]), like.dtype) for name, like in inputs.items()}
    of_names = tf.function(lambda **given: function(*(given[name] for name in inputs)), autograph=False)
    in_tensorflow = of_names.get_concrete_function(**specs)
    in_numpy = Program(Graph(in_tensorflow), specs)
    states = {name: np.array(x) for name, x in opened.initial_states(batch_size=len(TOKENS)).items()}
    tokens, numbers = TOKENS.astype("int32"), normal(*TOKENS.shape, 3)
    for t in range(STEPS):
        given = {"tokens": tokens[:, t], "numbers": numbers[:, t], **states}
        expected = in_tensorflow(**{name: tf.constant(x) for name, x in given.items()})
        in_numpy.run(given)
        assert_same(in_numpy.outputs, expected)
        states = {name: in_numpy.outputs[name].copy() for name in states}


def test_every_layer_gives_in_numpy_what_it_gives_in_tensorflow(tmp_path):
    model = served(of_layers(), tmp_path)
    x = {"tokens": TOKENS, "numbers": normal(*TOKENS.shape, 3)}
    x["numbers"][1, 2:4] = 0.5  # which is masked where `Masking` is
    by_step, native = (model.stream(len(TOKENS), native=native) for native in (False, True))
    for t in range(STEPS):
        step = {name: value[:, t] for name, value in x.items()}
        assert_same(native.push(step), by_step.push(step))
        assert_same(native.state, by_step.state)
    in_chunks, whole = (model.stream(len(TOKENS), native=True) for _ in range(2))
    in_chunks.push({name: value[:, :2] for name, value in x.items()})
    rest = in_chunks.push({name: value[:, 2:] for name, value in x.items()})
    given = whole.push(x)
    assert_same(whole.state, by_step.state)
    for name, value in given.items():
        np.testing.assert_array_equal(rest[name], value[:, 2:] if value.ndim == 3 else value, name)


def assert_same(given, expected):
    assert given.keys() == expected.keys()
    for name, value in given.items():
        assert type(value) is np.ndarray and value.dtype == np.asarray(expected[name]).dtype
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A model of words, lower-cased, loaded."""
    vectorize = keras.layers.TextVectorization(vocabulary=["good", "bad", "film", "don't"])
    inputs = keras.Input((), dtype="string")
    x = keras_gates.LSTM(3)(keras.layers.Embedding(6, 4, mask_zero=True)(vectorize(inputs)))
    return served(keras.Model(inputs, keras.layers.Dense(2)(x)), tmp_path_factory.mktemp("texts"))


def test_words_and_texts_are_read_as_tensorflow_reads_them(texts):
    for pushes in (["good", "film", "unknown", "bad"], ["A bad FILM!", "", "don't <br> good  film"]):
        tokens = [texts.answer("tokenize", [text])["tokens"].numpy() for text in pushes]
        native, expected = texts.stream(native=True), texts.stream()
        for text, read in zip(pushes * 2, tokens * 2, strict=True):  # the second time from memory
            if read.size:
                np.testing.assert_allclose(native.push(text), expected.push({"tokens": read}), atol=1e-5)
            else:
                with pytest.raises(ValueError, match="A chunk must hold one step or more; got 0 steps"):
                    native.push(text)
    pair = ["good film", "bad"]
    given, expected = (texts.stream(2, native=native).push(pair) for native in (True, False))
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)
    with pytest.raises(TypeError, match="`inputs` must be strings"):
        texts.stream(native=True).push([5])


def test_a_state_goes_from_one_kind_of_stream_to_the_other(texts):
    streams = [texts.stream(native=native) for native in (True, False)]
    for stream in streams:
        stream.push("good bad")
    crossed = [
        texts.stream(state=pickle.loads(pickle.dumps(stream.state)), native=native)
        for stream, native in zip(streams, (False, True), strict=True)
    ]
    expected = streams[1].push("film")
    for stream in (streams[0], *crossed):
        np.testing.assert_allclose(stream.push("film"), expected, rtol=0, atol=1e-5)
    before = streams[0].state
    kept = pickle.dumps(before)
    first = streams[0].push("bad")
    assert pickle.dumps(before) == kept  # it is a copy
    streams[0].state = before
    np.testing.assert_array_equal(streams[0].push("bad"), first)
    streams[0].reset()
    np.testing.assert_array_equal(streams[0].push("bad"), texts.stream(native=True).push("bad"))


def test_an_output_does_not_change_when_the_stream_goes_on(texts):
    stream = texts.stream(native=True)
    first = stream.push("good")
    kept = first.copy()
    stream.push("bad")
    np.testing.assert_array_equal(first, kept)


def test_what_is_wrong_with_a_native_push_is_said_and_changes_nothing(texts):
    stream = texts.stream(native=True)
    stream.push("good")
    before = stream.state
    for tokens, sentence in [
        ([[1, 9]], "tokens are out of range: they select 9 to 9 of 6"),
        ([[1, -9]], "tokens are out of range: they select -3 to -3 of 6"),
        ([[1], [2]], r"`tokens` must have the shape \(1, any\); got \(2, 1\)"),
        (np.zeros((1, 0), int), "A chunk must hold one step or more; got 0 steps"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            stream.push({"tokens": tokens})
    with pytest.raises(TypeError, match="`tokens` must be int64; float64 does not convert to it"):
        stream.push({"tokens": [[0.5]]})
    with pytest.raises(ValueError, match="`state` must be a dict of"):
        stream.state = {}
    for name, value in stream.state.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_stream_keeps_its_state_alone(tmp_path):
    """However large a step is: the memory that it needs is there once for all streams."""
    inputs = keras.Input((None, 2))
    model = served(keras.Model(inputs, keras_gates.LSTM(512)(inputs)), tmp_path)
    streams, x = [model.stream(native=True)], normal(1, 2)
    streams[0].push(x)
    bytes_of_state = sum(value.nbytes for value in streams[0].state.values())
    tracemalloc.start()
    for _ in range(50):
        streams.append(model.stream(native=True))
        streams[-1].push(x)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 50 * 2 * bytes_of_state
    outputs = [stream.push(x) for stream in streams]
    np.testing.assert_array_equal(outputs, [outputs[0]] * 51)


def test_streams_in_several_threads_do_not_mix(texts):
    pushes = np.random.default_rng(0).choice(["good", "bad", "film", "other"], (4, 50))

    def last(words):
        stream = texts.stream(native=True)
        return [stream.push(word) for word in words][-1]

    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(last, pushes))
    for output, words in zip(given, pushes, strict=True):
        np.testing.assert_array_equal(output, last(words))


def test_a_layer_that_numpy_lacks_is_named(tmp_path):
    inputs = keras.Input((None, 3))
    x = keras.layers.Dense(3, activation="gelu", name="between")(inputs)
    model = served(keras.Model(inputs, keras_gates.GRU(3, return_sequences=True)(x)), tmp_path)
    with pytest.raises(
        ValueError, match=r"^No native stream: .* layer '.*between.*' needs .* operation Erfc?;"
    ):
        model.stream(native=True)
    assert model.stream().push(normal(1, 2, 3)).shape == (1, 2, 3)


def test_a_layer_in_half_precision_is_named(tmp_path):
    inputs = keras.Input((None, 3))
    model = served(
        keras.Model(inputs, keras_gates.GRU(3, dtype="mixed_float16", name="half")(inputs)), tmp_path
    )
    with pytest.raises(ValueError, match=r"^No native stream: .* layer '.*half.*' computes in float16;"):
        model.stream(native=True)
