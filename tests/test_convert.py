"""Models in other runtimes give what they give in Keras: each is run there and compared."""

import keras
import numpy as np
import pytest

import keras_gates

tf = pytest.importorskip("tensorflow")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
if keras.backend.backend() != "tensorflow":
    pytest.skip("graphs are made with the TensorFlow backend", allow_module_level=True)

from keras_gates.convert import to_litert, to_onnx  # noqa: E402
from keras_gates.convert.onnx_graph import plan_slice  # noqa: E402

NATIVE = {"lstm": "LSTM", "peephole": "LSTM", "coupled": "LSTM", "gru": "GRU", "simple": "RNN"}
IDS = np.array([[1, 2, 3, 4, 0], [0, 5, 0, 6, 7]], "int32")


def randomize(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


def on_numbers(*cells):
    """Layers forth and back on numbers, without a mask."""
    layers = [
        keras_gates.RNN(cell, return_sequences=True, go_backwards=bool(k % 2)) for k, cell in enumerate(cells)
    ]
    return randomize(keras.Sequential([keras.Input((None, 3)), *layers, keras.layers.Dense(2)]))


def on_tokens(cell, layers=1):
    """Layers on masked tokens; one output for a sequence."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    for _ in range(layers - 1):
        x = keras_gates.RNN(keras_gates.cell_classes()[cell](4), return_sequences=True)(x)
    x = keras_gates.RNN(keras_gates.cell_classes()[cell](4))(keras.layers.LayerNormalization()(x))
    return randomize(keras.Model(tokens, keras.layers.Dense(2, activation="gelu")(x)))


def session(path):
    options = onnxruntime.SessionOptions()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def normal(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", keras_gates.cell_classes())
def test_onnx_of_whole_sequences(name, native, tmp_path):
    cell = keras_gates.cell_classes()[name]
    model, path = on_numbers(cell(4), cell(5)), tmp_path / "model.onnx"
    to_onnx(model, path, native=native)
    for x in normal(2, 6, 3), normal(5, 1, 3):
        (given,) = session(path).run(["outputs"], {"inputs": x})
        np.testing.assert_allclose(given, model(x), rtol=0, atol=1e-4)
    if name in NATIVE:
        assert NATIVE[name] in operators(path) if native else "Scan" in operators(path)


@pytest.mark.parametrize(
    "cell",
    [
        keras_gates.GRUCell(4, reset_after=False),
        keras_gates.GRUCell(4, reset_after=False, update="write", use_bias=False),
        keras_gates.GRUCell(4, update="write"),
        keras_gates.LSTMCell(4, use_bias=False),
        keras_gates.PeepholeLSTMCell(4, peepholes=("f",)),
        keras_gates.CoupledLSTMCell(4, peepholes=("f", "o")),
        keras.layers.LSTMCell(4),
        keras.layers.GRUCell(4),
    ],
    ids=lambda cell: cell.name,
)
def test_onnx_has_an_operator_for_every_form_of_a_cell_that_it_can_express(cell, tmp_path):
    model, path = on_numbers(cell), tmp_path / "model.onnx"
    to_onnx(model, path)
    assert operators(path) & {"LSTM", "GRU"} and "Scan" not in operators(path)
    x = normal(2, 6, 3)
    np.testing.assert_allclose(session(path).run(None, {"inputs": x})[0], model(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "cell",
    [
        keras_gates.PeepholeLSTMCell(4, peephole="full"),
        keras_gates.PeepholeLSTMCell(4, output_peephole="previous"),
        keras_gates.LSTMCell(4, activation="relu"),
        keras_gates.GRUCell(4, recurrent_activation="hard_sigmoid"),
        keras.layers.StackedRNNCells([keras_gates.LSTMCell(4), keras_gates.GRUCell(3)]),
    ],
    ids=lambda cell: cell.name,
)
def test_onnx_takes_the_loop_where_its_operators_would_be_wrong(cell, tmp_path):
    model, path = on_numbers(cell), tmp_path / "model.onnx"
    to_onnx(model, path)
    assert not operators(path) & {"LSTM", "GRU", "RNN"}
    x = normal(2, 6, 3)
    np.testing.assert_allclose(session(path).run(None, {"inputs": x})[0], model(x), rtol=0, atol=1e-4)


def test_onnx_of_a_bidirectional_model(tmp_path):
    layer = keras.layers.Bidirectional(keras_gates.PeepholeLSTM(4, return_sequences=True))
    model, path = randomize(keras.Sequential([keras.Input((None, 3)), layer])), tmp_path / "model.onnx"
    to_onnx(model, path)
    x = normal(2, 6, 3)
    np.testing.assert_allclose(session(path).run(None, {"inputs": x})[0], model(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "layers"), [*((name, 1) for name in keras_gates.cell_classes()), ("peephole", 2)]
)
def test_onnx_and_litert_of_masked_tokens_whole_and_step_by_step(name, layers, tmp_path):
    model = on_tokens(name, layers)
    expected = model(IDS).numpy()
    for endpoint in "serve", "step":
        to_onnx(model, tmp_path / f"{endpoint}.onnx", endpoint)
        time = IDS.shape[1] if endpoint == "serve" else None
        to_litert(model, tmp_path / f"{endpoint}.tflite", endpoint, time=time, batch_size=len(IDS))
    given = {
        "ONNX, whole": session(tmp_path / "serve.onnx").run(["outputs"], {"inputs": IDS})[0],
        "ONNX, in steps": stepped_in_onnx(tmp_path / "step.onnx"),
        "LiteRT, whole": litert(tmp_path / "serve.tflite")(inputs=IDS)["outputs"],
        "LiteRT, in steps": stepped_in_litert(tmp_path / "step.tflite"),
    }
    for way, outputs in given.items():
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4, err_msg=way)


def stepped_in_onnx(path):
    step = session(path)
    names = [output.name for output in step.get_outputs()]
    states = {
        given.name: np.zeros((len(IDS), *given.shape[1:]), "float32")
        for given in step.get_inputs()
        if given.name != "inputs"
    }
    for t in range(IDS.shape[1]):
        result = dict(zip(names, step.run(None, {"inputs": IDS[:, t], **states}), strict=True))
        states = {name: result[f"{name}_after"] for name in states}
    return result["outputs"]


def litert(path):
    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        return tf.lite.Interpreter(str(path)).get_signature_runner()


def stepped_in_litert(path):
    step = litert(path)
    states = {
        name: np.zeros(told["shape"], told["dtype"])
        for name, told in step.get_input_details().items()
        if name != "inputs"
    }
    for t in range(IDS.shape[1]):
        result = step(inputs=IDS[:, t], **states)
        states = {name: result[name] for name in states}
    return result["outputs"]


SLICES = {
    "new last axis": lambda x: x[..., None],
    "new axis after one that vanishes": lambda x: x[:, 0, None, 1:],
    "new axis in the middle": lambda x: x[:, None, ..., -1],
    "backwards": lambda x: x[:, ::-1, :2],
}


@pytest.mark.parametrize("cut", SLICES.values(), ids=SLICES)
def test_onnx_of_slices(cut, tmp_path):
    inputs = keras.Input((None, 4))
    cut_up = keras.layers.Lambda(cut)(keras_gates.GRU(4, return_sequences=True)(inputs))
    model, path = randomize(keras.Model(inputs, cut_up)), tmp_path / "model.onnx"
    to_onnx(model, path)
    x = normal(2, 6, 4)
    np.testing.assert_allclose(session(path).run(None, {"inputs": x})[0], model(x), rtol=0, atol=1e-5)


INDICES = [
    *("[..., None]", "[:, 0, None, 1:]", "[:, None, ..., -1]", "[:, ::-1, :2]", "[-1]", "[1:-1, ..., 0]"),
    *("[None, ::2, -3:-1]", "[..., -2:, :]", "[3:0:-2]", "[:, -2::-1, None, -1:]", "[2:, 1, 1]"),
]


@pytest.mark.parametrize("index", INDICES)
def test_the_plan_of_a_slice_is_what_numpy_slices(index):
    index = eval(f"np.s_{index}")
    cut = tf.function(lambda x: x[index]).get_concrete_function(tf.TensorSpec((4, 5, 3)))
    (operation,) = (one for one in cut.graph.get_operations() if one.type == "StridedSlice")
    bounds = [tf.get_static_value(x).tolist() for x in operation.inputs[1:4]]
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    plan = plan_slice(3, *bounds, **{name: operation.get_attr(name) for name in names})
    given = x = np.arange(4 * 5 * 3).reshape(4, 5, 3)
    for start, stop, axis, step in plan.cuts:
        x = x[(slice(None),) * axis + (slice(start, stop, step),)]
    x = np.expand_dims(np.squeeze(x, tuple(plan.squeezed)), tuple(plan.added))
    np.testing.assert_array_equal(x, given[index])


POOLINGS = [
    keras.layers.GlobalAveragePooling1D,
    keras_gates.AttentionPooling,
    keras_gates.MeanPooling,
    keras_gates.SumPooling,
    keras_gates.MaxPooling,
]


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.__name__)
def test_pooled_sequences_whole_and_step_by_step(pooling, tmp_path):
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    model = randomize(keras.Model(tokens, pooling()(keras_gates.GRU(4, return_sequences=True)(x))))
    to_onnx(model, tmp_path / "serve.onnx")
    to_onnx(model, tmp_path / "step.onnx", "step")
    to_litert(model, tmp_path / "step.tflite", "step", batch_size=len(IDS))
    expected = model(IDS).numpy()
    (whole,) = session(tmp_path / "serve.onnx").run(None, {"inputs": IDS})
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(stepped_in_onnx(tmp_path / "step.onnx"), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(stepped_in_litert(tmp_path / "step.tflite"), expected, rtol=0, atol=1e-4)


def test_a_model_of_text_is_converted_from_its_tokens_on(tmp_path):
    vectorize = keras.layers.TextVectorization(max_tokens=9)
    vectorize.adapt(["a good film", "a bad film"])
    inputs = keras.Input((), dtype="string")
    x = keras_gates.LSTM(4)(keras.layers.Embedding(9, 3, mask_zero=True)(vectorize(inputs)))
    model = randomize(keras.Model(inputs, x))
    to_onnx(model, tmp_path / "model.onnx")
    texts = tf.constant(["a bad film", "good"])
    (given,) = session(tmp_path / "model.onnx").run(None, {"tokens": vectorize(texts).numpy()})
    np.testing.assert_allclose(given, model(texts), rtol=0, atol=1e-4)


def test_what_cannot_be_converted_is_said(tmp_path):
    model = on_numbers(keras_gates.LSTMCell(4))
    with pytest.raises(ValueError, match="fixed length only: give `time`"):
        to_litert(model, tmp_path / "model")
    with pytest.raises(ValueError, match="`endpoint` must be one of 'serve', 'step'; got 'trace'"):
        to_onnx(model, tmp_path / "model", "trace")
    inputs = keras.Input((None, 3))
    memory = keras.Input((None, 2))
    decoder = keras_gates.AttentionRNN(keras_gates.BahdanauCell(keras_gates.GRUCell(4)), name="decoder")
    looking = keras.Model([inputs, memory], decoder(inputs, memory=memory))
    with pytest.raises(ValueError, match="'decoder' looks at a memory in every step"):
        to_onnx(looking, tmp_path / "model")
    strange = keras.Model(inputs, keras.ops.arctan(keras_gates.LSTM(4)(inputs)))
    with pytest.raises(ValueError, match=r"operation Atan .* has no translation to ONNX"):
        to_onnx(strange, tmp_path / "model")
    (tmp_path / "model").write_text("mine")
    with pytest.raises(FileExistsError, match="model exists already"):
        to_onnx(model, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
