"""The fused kernels: equal to the plain path, absent without harm, and never in what is saved."""

import hashlib
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
from multiprocessing.pool import ThreadPool

import keras
import numpy as np
import pytest
from kernel_problems import CELLS, assert_close, random_layer

import keras_gates
from keras_gates import kernels

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="these are the kernels of TensorFlow"
)


def compiled():
    from keras_gates.kernels import operation

    return operation.available()


needs_kernels = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not compiled(), reason="this machine has no kernels"
)


def answers(layer, x, states, mask, cotangents, when, training=True):
    """Results and the gradients of their weighted sum, by name."""
    x, states = tf.constant(x), [tf.constant(state) for state in states]
    given = tensors(layer, x, states, mask, cotangents, when, training)
    return {name: tensor.numpy() for name, tensor in given.items()}


def tensors(layer, x, states, mask, cotangents, when, training=True):
    """`answers` as tensors, of tensors."""
    weights = [variable.value for variable in layer.trainable_variables]
    with keras_gates.use_kernels(when), tf.GradientTape() as tape:
        tape.watch([x, *states])
        results = layer(x, initial_state=states, mask=mask, training=training)
        total = sum(tf.reduce_sum(tf.cast(r, c.dtype) * c) for r, c in zip(results, cotangents, strict=True))
    # Zero, not None, for a state that nothing hears: the kernels give every state a gradient.
    gradients = tape.gradient(total, [x, *states, *weights], unconnected_gradients="zero")
    names = ["x", *(f"state {k}" for k in range(len(states))), *(v.name for v in layer.trainable_variables)]
    return {
        **{f"result {k}": r for k, r in enumerate(results)},
        **{f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)},
    }


def uses_kernel(function, *arguments):
    """Whether a traced function holds one of the operations."""
    graph = function.get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return any("KerasGates" in node.op for node in nodes)


@needs_kernels
@pytest.mark.parametrize("mask", ["none", "holes", "right"])
@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize(
    "return_sequences, zero_output_for_mask", [(True, True), (False, False), (False, True)]
)
def test_options_of_the_layer(name, mask, return_sequences, zero_output_for_mask):
    options = {"return_sequences": return_sequences, "zero_output_for_mask": zero_output_for_mask}
    layer, question = random_layer(CELLS[name], (5, 7, 9, 20, mask, False), **options)
    assert_close(answers(layer, *question, "training"), answers(layer, *question, "never"))


@needs_kernels
@pytest.mark.parametrize(
    "name",
    [
        "lstm", "gru", "gru before", "minimal gated", "peephole-only", "slstm", "layer-norm-lstm", "FGR",
        "depth-gated",
    ],
)  # fmt: skip
def test_dropout_masks_are_those_of_the_plain_path(name):
    """With the same seeds, both paths drop the same inputs and units."""
    made = []
    for when in ("training", "never"):
        arguments = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
        layer, question = random_layer(CELLS[name], (5, 7, 9, 20, "holes", False), arguments=arguments)
        made.append(answers(layer, *question, when))
    assert_close(*made)


@needs_kernels
def test_gradients_of_inference():
    """`always` keeps no tape in inference; a gradient asked for all the same is right."""
    layer, question = random_layer(CELLS["lstm"], (3, 5, 4, 20, "holes", False))
    got = answers(layer, *question, "always", training=False)
    assert_close(got, answers(layer, *question, "never", training=False))


@needs_kernels
def test_kernels_serve_when_they_should():
    layer = keras_gates.LSTM(4)
    layer.build((None, None, 3))
    x = tf.TensorSpec((None, None, 3))

    def traced(training, jit=False):
        return uses_kernel(tf.function(lambda x: layer(x, training=training), jit_compile=jit), x)

    assert traced(True)
    assert not traced(False)
    assert not traced(True, jit=True)
    with keras_gates.use_kernels("never"):
        assert not traced(True)
    with keras_gates.use_kernels("always"):
        assert not traced(False)  # a function of one's own may be meant for export
    with keras_gates.use_kernels("everywhere"):
        assert traced(False)
        assert not traced(False, jit=True)


@needs_kernels
@pytest.mark.parametrize(
    "cell",
    [
        keras_gates.LSTMCell(4, activation="softsign"),
        keras_gates.LSTMCell(4, recurrent_activation="hard_sigmoid"),
        keras_gates.LSTMCell(4, dtype="float64"),
        keras_gates.LSTMCell(4, dtype="bfloat16"),
        keras_gates.LSTMCell(4, dtype="mixed_float16"),
        keras_gates.CoupledLSTMCell(4, peepholes=("f",), peephole="full"),
        keras_gates.IndRNNCell(4, recurrent_dropout=0.5),
        type("Other", (keras_gates.LSTMCell,), {})(4),
    ],
    ids=[
        "softsign",
        "hard sigmoid",
        "float64",
        "bfloat16",
        "mixed float16",
        "full peepholes",
        "diagonal dropout",
        "subclass",
    ],
)
def test_other_cells_take_the_plain_path(cell):
    assert kernels.describe(cell) is None


@needs_kernels
@pytest.mark.parametrize(
    "name",
    [
        "lstm",
        "NIG",
        "peephole-only",
        "minimal gated",
        "janet",
        "min-lstm",
        "indrnn",
        "slstm",
        "layer-norm-lstm",
        "depth-gated",
    ],
)
def test_not_a_number_stays_in_its_row(name):
    layer, (x, states, _, _) = random_layer(CELLS[name], (5, 4, 3, 20, "none", False))
    clean = layer(x, initial_state=states, training=True)[0].numpy()
    x[2, 1, 0] = np.nan
    y = layer(x, initial_state=states, training=True)[0].numpy()
    assert np.isnan(y[2, 1:]).all()
    assert np.isfinite(y[2, 0]).all()
    assert np.array_equal(np.delete(y, 2, 0), np.delete(clean, 2, 0))


def fitted(make, dtype, when):
    """The weights of a model after a step of training on inputs of a dtype, and its prediction."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 3), dtype=dtype)
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(make(inputs)))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (4, 6, 3)).astype(dtype), rng.normal(size=(4, 1)).astype("float32")
    with keras_gates.use_kernels(when):
        model.fit(x, y, verbose=0)
        prediction = model.predict(x, verbose=0)
    return {"prediction": prediction, **{str(k): np.array(w) for k, w in enumerate(model.get_weights())}}


@needs_kernels
@pytest.mark.parametrize(
    "make",
    [
        lambda x: keras_gates.RNN(keras_gates.LSTMCell(4, dtype="float32"), dtype="mixed_float16")(x),
        lambda x: keras_gates.RNN(keras_gates.LSTMCell(4), dtype="float64")(x),
        lambda x: keras_gates.RNN(keras_gates.LSTMCell(4), dtype="bfloat16")(x),
        lambda x: keras_gates.RNN(keras_gates.LSTMCell(4), dtype="mixed_float16", autocast=False)(x),
        lambda x: keras_gates.LSTM(4, autocast=False)(x),
        lambda x: keras_gates.GRU(4)(keras.ops.one_hot(keras.ops.cast(x[..., 0], "int32"), 3, dtype="int32")),
    ],
    ids=["mixed float16", "float64", "bfloat16", "mixed, no autocast", "no autocast", "one-hot int32"],
)
def test_layers_of_other_dtypes_train_as_on_the_plain_path(make):
    assert_close(*(fitted(make, "float32", when) for when in ("always", "never")))


@needs_kernels
@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8", "float16"])
def test_sequences_of_other_dtypes_train_as_on_the_plain_path(dtype):
    assert_close(*(fitted(lambda x: keras_gates.LSTM(4)(x), dtype, when) for when in ("always", "never")))


@needs_kernels
def test_a_policy_of_mixed_precision_around_a_cell_of_single_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        make = lambda x: keras_gates.RNN(keras_gates.LSTMCell(4, dtype="float32"))(x)  # noqa: E731
        assert_close(*(fitted(make, "float32", when) for when in ("always", "never")))
    finally:
        keras.config.set_dtype_policy(policy)


@needs_kernels
@pytest.mark.parametrize("dtype", ["int32", "bool", "float64"])
def test_eager_calls_on_other_dtypes(dtype):
    layer, x = keras_gates.LSTM(4), tf.cast(tf.eye(5, 3, batch_shape=[2]), dtype)
    layer.build(x.shape)
    found = []
    for when in ("always", "never"):
        with keras_gates.use_kernels(when):
            found.append({"y": layer(x, training=True).numpy()})
    assert_close(*found)


@needs_kernels
@pytest.mark.parametrize("dtype", ["int32", "float32", "uint8"])
def test_masks_of_other_dtypes(dtype):
    layer, (x, states, mask, _) = random_layer(CELLS["lstm"], (3, 5, 4, 6, "holes", False))
    found = []
    for when in ("always", "never"):
        with keras_gates.use_kernels(when):
            results = layer(x, initial_state=states, mask=tf.cast(mask, dtype), training=True)
        found.append({str(k): result.numpy() for k, result in enumerate(results)})
    assert_close(*found)


@needs_kernels
@pytest.mark.parametrize(
    "case, traced",
    [
        *itertools.product(["one state for all", "one mask for all", "one sequence"], [False, True]),
        ("no features", False),  # in a function TensorFlow's own loop ends the process
    ],
)
def test_what_broadcasts_gives_the_same_on_both_paths(case, traced):
    features = 0 if case == "no features" else 4
    batch = 1 if case == "one sequence" else 3
    layer = keras_gates.LSTM(6, return_sequences=True, return_state=True)
    layer.build((None, 5, features))
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(batch, 5, features)), "float32")
    states = [tf.constant(rng.normal(size=(1 if case == "one state for all" else 3, 6)), "float32")] * 2
    mask = tf.constant(rng.random((1 if case == "one mask for all" else 3, 5)) < 0.6)

    def call(x):
        return layer(x, initial_state=states, mask=mask if "mask" in case else None, training=True)

    found = []
    for when in ("always", "never"):
        called = tf.function(call, input_signature=[tf.TensorSpec((None, 5, features))]) if traced else call
        with keras_gates.use_kernels(when):
            try:
                found.append({str(k): result.numpy() for k, result in enumerate(called(x))})
            except Exception as error:  # whatever the plain path says of it
                found.append(type(error))
    if isinstance(found[1], dict):
        assert_close(*found)
    else:
        assert found[0] is found[1]


@needs_kernels
@pytest.mark.parametrize("states", [[(3, 6)], [(3, 6)] * 3, [(3, 5)] * 2], ids=str)
def test_wrong_states_are_refused_in_the_words_of_the_cell(states):
    layer = keras_gates.LSTM(6)
    layer.build((None, 5, 4))
    with pytest.raises(ValueError, match="LSTMCell"):
        layer(tf.zeros((3, 5, 4)), initial_state=[tf.zeros(shape) for shape in states], training=True)


@needs_kernels
def test_learned_initial_states_are_trained():
    layer = keras_gates.LSTM(5, learn_initial_state=True)
    layer.build((2, 3, 4))
    x = tf.random.normal((2, 3, 4))
    names = [v.name for v in layer.trainable_variables]
    found = []
    for when in ("training", "never"):
        with keras_gates.use_kernels(when), tf.GradientTape() as tape:
            y = tf.reduce_sum(layer(x, training=True))
        found.append(dict(zip(names, tape.gradient(y, layer.trainable_variables), strict=True)))
    assert any(name.startswith("initial") for name in names)
    assert_close(*[{k: v.numpy() for k, v in gradients.items()} for gradients in found])


@needs_kernels
def test_gradients_are_the_same_to_the_last_bit():
    """Also beside other calls, which leave this one fewer threads."""
    layer, question = random_layer(CELLS["peephole"], (65, 20, 33, 40, "right", False))
    # The choice holds for the whole process: threads that end in another order than they began mix it up.
    with keras_gates.use_kernels("training"):
        first, *others = ThreadPool(4).map(lambda _: answers(layer, *question, "training"), range(12))
    for other in others:
        assert all(np.array_equal(first[name], other[name]) for name in first)


def classifier(cell="lstm"):
    layer = keras_gates.RNN(CELLS[cell](6), return_sequences=True)
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            keras.layers.Masking(),
            keras.layers.Bidirectional(layer),
            keras.layers.Bidirectional(keras_gates.GRU(5)),
            keras.layers.Dense(1),
        ]
    )


def trained(when, **arguments):
    keras.utils.set_random_seed(0)
    model = classifier()
    model.compile("adam", "mse", **arguments)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 7, 3)).astype("float32"), rng.normal(size=(12, 1)).astype("float32")
    x[3:6, 4:] = 0
    with keras_gates.use_kernels(when):
        losses = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
    return model, x, losses


@pytest.fixture
def calls(monkeypatch):
    """For each call of the kernels whether it was in training."""
    from keras_gates.kernels import operation

    calls = []
    run = operation.run
    monkeypatch.setattr(operation, "run", lambda *a: calls.append(bool(a[-1])) or run(*a))
    return calls


@needs_kernels
@pytest.mark.parametrize("arguments", [{"steps_per_execution": 2}, {"run_eagerly": True}], ids=str)
def test_training_goes_the_same_way(arguments):
    losses = [trained(when, **arguments)[2] for when in ("always", "never")]
    assert np.allclose(*losses, rtol=1e-4)


@needs_kernels
def test_fit_evaluate_and_predict_use_the_kernels_and_go_the_same_way(calls):
    losses = trained("always")[2]
    assert set(calls) == {True, False}
    calls.clear()
    trained("training")
    assert set(calls) == {True}
    assert np.allclose(losses, trained("never")[2], rtol=1e-4)


@needs_kernels
def test_training_compiled_by_xla_goes_the_same_way_without_kernels(calls):
    losses = [trained(when, jit_compile=True)[2] for when in ("always", "never")]
    assert not calls
    assert np.allclose(*losses, rtol=1e-4)


@needs_kernels
@pytest.mark.skipif("KERAS_GATES_KERNELS" in os.environ, reason="the environment chooses")
def test_predict_and_eager_calls_use_the_kernels_by_default(calls):
    model = keras.Sequential([keras.Input((5, 3)), keras_gates.LSTM(4)])
    model.predict(np.zeros((2, 5, 3)), verbose=0)
    model(np.zeros((2, 5, 3)))
    assert calls == [False, False]


def residual(inside, project=False, times=1):
    """A function of units that makes a cell with kernels inside residual ones."""

    def make(units, **arguments):
        cell = inside(units, **arguments)
        for _ in range(times):
            cell = keras_gates.ResidualCell(cell, project=project)
        return cell

    return make


@needs_kernels
@pytest.mark.parametrize("mask", ["none", "holes"])
@pytest.mark.parametrize(
    "make, backwards, options",
    [
        (residual(keras_gates.GRUCell), True, {}),
        (residual(keras_gates.PeepholeLSTMCell, project=True), False, {"return_sequences": False}),
        (residual(keras_gates.LSTMCell, times=2), True, {"zero_output_for_mask": True}),
        (residual(keras_gates.DepthGatedLSTMCell, project=True), True, {"return_sequences": False}),
    ],
    ids=["gru", "projected", "twice", "depth-gated"],
)
def test_residual_cells_go_the_same_way(make, backwards, options, mask, calls):
    units, features = (6, 4) if not options.get("return_sequences", True) else (5, 5)
    problem = 4, 7, features, units, mask, backwards
    layer, question = random_layer(make, problem, **options)
    assert_close(answers(layer, *question, "training"), answers(layer, *question, "never"))
    assert calls == [True]


@needs_kernels
def test_a_residual_cell_over_any_number_of_steps_predicts_with_kernels(calls):
    """With a mask, in a function that is traced before the number of steps is known."""
    layer = keras_gates.RNN(keras_gates.ResidualCell(keras_gates.LSTMCell(3)), return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Masking(), layer])
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    x[0, 3:], x[1, 1] = 0, 0
    found = []
    for when in ("always", "never"):
        with keras_gates.use_kernels(when):
            model.compile()
            found.append({"y": model.predict(x, verbose=0)})
    assert_close(*found)
    assert calls == [False]


def zoned_out(inside, **arguments):
    return lambda units: keras_gates.ZoneoutCell(inside(units), **arguments)


@needs_kernels
@pytest.mark.parametrize(
    "make",
    [
        zoned_out(keras_gates.LayerNormLSTMCell, zoneout={"h": 0.05, "c": 0.5}),
        lambda units: keras_gates.ResidualCell(zoned_out(keras_gates.ClockworkCell)(units)),
    ],
    ids=["layer-norm-lstm", "residual clockwork"],
)
def test_zoneout_in_inference_goes_the_same_way(make, calls):
    layer, question = random_layer(make, (4, 7, 6, 6, "holes", True))
    found = [answers(layer, *question, when, training=False) for when in ("always", "never")]
    assert_close(*found)
    assert calls == [False]


@needs_kernels
def test_zoneout_around_a_stack_takes_the_plain_path(calls):
    """A level reads what the level below it gives before zoneout, which goes around the whole stack."""
    layer, question = random_layer(zoned_out(keras_gates.DepthGatedLSTMCell), (3, 4, 5, 6, "none", False))
    answers(layer, *question, "always", training=False)
    assert not calls


@needs_kernels
def test_zoneout_in_training_keeps_a_unit_at_a_time_as_often_as_it_says(calls):
    """In an integrator, where a step of a unit that is not kept adds one."""
    cell = keras_gates.SimpleRNNCell(
        40,
        activation="linear",
        recurrent_initializer="identity",
        kernel_initializer="zeros",
        bias_initializer="ones",
    )
    layer = keras_gates.RNN(keras_gates.ZoneoutCell(cell, zoneout=0.3, seed=3), return_sequences=True)
    layer.build((30, 50, 2))
    start = tf.zeros((30, 40))
    with tf.GradientTape() as tape:
        tape.watch(start)
        y = layer(tf.zeros((30, 50, 2)), initial_state=[start], training=True)
        total = tf.reduce_sum(y[:, -1])
    steps = np.diff(y.numpy(), axis=1)
    assert set(np.unique(steps)) == {0, 1}
    assert abs(np.mean(steps == 0) - 0.3) < 0.01  # of 58,800 draws: five times their deviation
    assert np.ptp(np.mean(steps, axis=(0, 1))) < 0.12  # of each unit 1,470
    np.testing.assert_array_equal(tape.gradient(total, start), np.ones((30, 40)))
    assert calls == [True]


@needs_kernels
@pytest.mark.parametrize(
    "make",
    [
        zoned_out(keras_gates.GRUCell),
        keras_gates.ClockworkCell,
        lambda units: keras_gates.ClockworkCell(units, periods=(1, 8)),
    ],
    ids=["zoneout", "clockwork", "another of the same cycle"],
)
def test_second_derivatives_in_inference(make):
    layer, (x, states, mask, cotangents) = random_layer(make, (3, 4, 5, 6, "holes", False))
    weights = [variable.value for variable in layer.trainable_variables]
    found = []
    for when in ("always", "never"):
        with keras_gates.use_kernels(when), tf.GradientTape() as second:
            second.watch(weights)
            with tf.GradientTape() as first:
                first.watch(weights)
                y = layer(x, initial_state=list(map(tf.constant, states)), mask=mask, training=False)
                total = tf.reduce_sum(y[0] * cotangents[0])
            total = sum(tf.reduce_sum(tf.sin(gradient)) for gradient in first.gradient(total, weights))
        found.append({str(k): g.numpy() for k, g in enumerate(second.gradient(total, weights))})
    assert_close(*found)


def save_as_keras(model, path):
    model.save(path / "model.keras")
    # A .keras file holds no graph: a process without this package reads what was exported from it.
    keras.saving.load_model(path / "model.keras").export(path / "saved", verbose=False)


SAVES = {
    "model.save": save_as_keras,
    "model.export": lambda model, path: model.export(path / "saved", verbose=False),
    "tf.saved_model.save": lambda model, path: tf.saved_model.save(model, str(path / "saved")),
    "keras_gates.export": lambda model, path: keras_gates.export(model, path / "saved"),
}
SERVE = """
import sys, numpy as np, tensorflow as tf
for folder in sys.argv[1:]:
    served = tf.saved_model.load(f"{folder}/saved").signatures["serving_default"]
    name = list(served.structured_input_signature[1])[0]
    answer = served(**{name: tf.constant(np.load(f"{folder}/x.npy"))})
    np.save(f"{folder}/y.npy", list(answer.values())[0])
assert "keras_gates" not in sys.modules
"""


@pytest.fixture(scope="module")
def answers_apart(tmp_path_factory):
    """What each saved model gives in a process without this package, and what the model gave."""
    folders, expected = {}, {}
    for when in "training", "always":
        model, x, _ = trained(when)
        for way, save in SAVES.items():
            folder = folders[way, when] = tmp_path_factory.mktemp("saved")
            with keras_gates.use_kernels(when):
                save(model, folder)
            np.save(folder / "x.npy", x)
            expected[way, when] = model.predict(x, verbose=0)
    without = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    away = tmp_path_factory.mktemp("away")
    subprocess.run([sys.executable, "-c", SERVE, *folders.values()], check=True, cwd=away, env=without)
    return {key: (np.load(folder / "y.npy"), expected[key]) for key, folder in folders.items()}


@needs_kernels
@pytest.mark.parametrize("when", ["training", "always"])
@pytest.mark.parametrize("way", SAVES)
def test_saved_models_answer_without_this_package(way, when, answers_apart):
    given, expected = answers_apart[way, when]
    assert np.allclose(given, expected, atol=1e-5)


@needs_kernels
def test_a_model_that_drops_out_when_served_is_exported_without_kernels(tmp_path):
    """Monte Carlo dropout: the exported function calls the layer with `training=True`."""
    layer = keras_gates.LSTM(4, recurrent_dropout=0.5)
    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, layer(inputs, training=True))
    model.export(tmp_path / "saved", verbose=False)
    assert b"KerasGates" not in (tmp_path / "saved" / "saved_model.pb").read_bytes()


def holds_kernels(folder):
    return b"KerasGates" in (folder / "saved_model.pb").read_bytes()


SAYS_NEVER = r'keras_gates.*use_kernels\("never"\)'


def traced_in_callbacks(trace):
    """A model that was fitted, its input, and what `trace(model)` gave in callbacks meanwhile."""

    class Tracing(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.traced = []

        def on_train_batch_end(self, batch, logs=None):
            self.traced.append(trace(self.model))

        on_predict_batch_end = on_train_batch_end

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 3)), keras_gates.LSTM(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, callback = tf.random.normal((4, 5, 3)), Tracing()
    with keras_gates.use_kernels("always"):
        model.fit(x, x[:, 0, :1], batch_size=4, verbose=0, callbacks=[callback])
        model.predict(x, verbose=0, callbacks=[callback])
    return model, x, callback.traced


SEQUENCES = tf.TensorSpec((None, 5, 3), name="x")


@needs_kernels
def test_a_function_traced_for_inference_in_a_callback_is_saved(tmp_path):
    model, x, traced = traced_in_callbacks(
        lambda m: tf.function(lambda x: m(x)).get_concrete_function(SEQUENCES)
    )
    for k, function in enumerate(traced):
        folder = tmp_path / str(k)
        tf.saved_model.save(model, str(folder), signatures=function)
        assert not holds_kernels(folder)
        served = tf.saved_model.load(str(folder)).signatures["serving_default"](x=x)
        assert np.allclose(next(iter(served.values())), function(x), atol=1e-6)


@needs_kernels
def test_a_function_traced_for_training_in_a_callback_is_saved_by_tracing_it_again(tmp_path):
    def trains(model):
        module = tf.Module()
        module.model, module.sample = model, tf.function(lambda x: model(x, training=True))
        module.sample(tf.zeros((2, 5, 3)))
        return module

    _, _, modules = traced_in_callbacks(trains)
    for k, module in enumerate(modules):
        folder = tmp_path / str(k)
        assert uses_kernel(module.sample, tf.zeros((2, 5, 3)))
        tf.saved_model.save(module, str(folder))
        assert not holds_kernels(folder)
        assert tf.saved_model.load(str(folder)).sample(tf.zeros((2, 5, 3))).shape == (2, 1)


@needs_kernels
def test_what_keras_traced_is_saved_without_kernels(tmp_path):
    """Keras' own functions, and one that calls them, put where TensorFlow saves them."""
    model, x, _ = traced_in_callbacks(lambda model: None)
    module = tf.Module()
    module.model, module.predict, module.evaluate = model, model.predict_function, model.test_function
    module.calls = tf.function(lambda x: module.predict(((x,),)))
    expected = module.calls(x)
    assert uses_kernel(module.calls, x)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    assert not holds_kernels(tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert np.allclose(loaded.calls(x), expected, atol=1e-6)
    with pytest.raises(ValueError, match=SAYS_NEVER):
        tf.saved_model.save(module, str(tmp_path / "fails"), signatures=module.calls.get_concrete_function(x))


@keras.saving.register_keras_serializable("test")
class Nested(keras.layers.Layer):
    """Calls its layer in a function of its own, as it is told or always as in training."""

    def __init__(self, always_trains=False, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.always_trains = keras_gates.LSTM(4), always_trains

    def build(self, shape):
        self.layer.build(shape)

    @tf.function
    def inner(self, x, training):
        return self.layer(x, training=training)

    def call(self, x, training=False):
        return self.inner(x, training or self.always_trains)


@needs_kernels
@pytest.mark.parametrize("always_trains", [False, True])
@pytest.mark.parametrize("way", SAVES)
def test_a_function_inside_a_model_is_saved_without_kernels(way, always_trains, tmp_path):
    model = keras.Sequential([keras.Input((5, 3)), Nested(always_trains), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = tf.random.normal((4, 5, 3))
    with keras_gates.use_kernels("always"):
        model.fit(x, x[:, 0, :1], verbose=0)
        model.evaluate(x, x[:, 0, :1], verbose=0)
        model.predict(x, verbose=0)
        SAVES[way](model, tmp_path)
    assert not holds_kernels(tmp_path / "saved")


@needs_kernels
def test_endpoints_of_the_user(tmp_path):
    """Of an archive of Keras: one to be traced, one traced for inference, one traced with dropout."""
    model, x, _ = traced_in_callbacks(lambda model: None)
    infers, drops = tf.function(lambda x: model(x)), tf.function(lambda x: model(x, training=True))
    infers(x), drops(x)
    assert uses_kernel(drops, x)

    def archive():
        made = keras.export.ExportArchive()
        made.track(model)
        made.add_endpoint("sample", lambda x: model(x, training=True), input_signature=[SEQUENCES])
        made.add_endpoint("infer", infers)
        return made

    archive().write_out(tmp_path / "saved", verbose=False)
    assert not holds_kernels(tmp_path / "saved")
    fails = archive()
    fails.add_endpoint("drop", drops)
    with pytest.raises(ValueError, match=SAYS_NEVER):
        fails.write_out(tmp_path / "fails", verbose=False)


@needs_kernels
@pytest.mark.parametrize(
    "inside", ["the function", "a loop", "a branch", "a function it calls", "a gradient"]
)
def test_a_concrete_function_with_kernels_is_not_saved(inside, tmp_path):
    module = tf.Module()
    module.layer = keras_gates.LSTM(4)
    module.layer.build((None, 5, 3))

    def sample(x):
        return module.layer(x, training=True)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = sample(x)
        return tape.gradient(y, x)

    def concrete_function():
        called = tf.function(sample)
        call = {
            "the function": sample,
            "a loop": lambda x: tf.map_fn(lambda k: sample(x), tf.zeros(3)),
            "a branch": lambda x: tf.cond(x[0, 0, 0] > 0, lambda: sample(x), lambda: sample(2 * x)),
            "a function it calls": lambda x: called(x),
            "a gradient": gradient,
        }[inside]
        return tf.function(call).get_concrete_function(SEQUENCES)

    concrete = concrete_function()
    with pytest.raises(ValueError, match=SAYS_NEVER):
        tf.saved_model.save(module, str(tmp_path / "saved"), signatures=concrete)
    with pytest.raises(ValueError, match=SAYS_NEVER):
        tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()
    with keras_gates.use_kernels("never"):
        concrete = concrete_function()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=concrete)
    assert not holds_kernels(tmp_path / "saved")


@needs_kernels
def test_a_model_that_drops_out_when_served_is_converted_without_kernels():
    inputs = keras.Input((5, 3), batch_size=1)
    model = keras.Model(
        inputs, keras_gates.LSTM(4, recurrent_dropout=0.5, unroll=True)(inputs, training=True)
    )
    model(tf.zeros((1, 5, 3)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    assert b"KerasGates" not in converter.convert()


@needs_kernels
def test_xla_refuses_kernels_traced_before_with_a_word_on_what_to_do():
    layer = keras_gates.LSTM(4)
    layer.build((None, 5, 3))
    traced = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec((2, 5, 3)))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"keras_gates\.use_kernels_never_before_tracing"
    ):
        tf.function(lambda x: traced(x), jit_compile=True)(tf.zeros((2, 5, 3)))


@needs_kernels
@pytest.mark.parametrize("eager", [True, False])
def test_inside_loops_of_tensorflow(eager):
    """The kernels' operations and their gradients in the body of a while loop."""
    layer, x = keras.layers.TimeDistributed(keras_gates.LSTM(6)), tf.random.normal((2, 3, 5, 4))
    layer.build(tuple(x.shape))
    found = []
    for when in ("training", "never"):
        called = layer if eager else tf.function(layer)
        with keras_gates.use_kernels(when), tf.GradientTape() as tape:
            tape.watch(x)
            y = called(x, training=True)
        found.append({"y": y.numpy(), "x": tape.gradient(y, x).numpy()})
    assert_close(*found)


@needs_kernels
def test_inputs_are_checked():
    from keras_gates.kernels import on_tensorflow

    shapes = {
        "x": (2, 3, 4), "kernel": (4, 20), "recurrent_kernel": (5, 20), "bias": (20,), "vectors": (0, 5),
        "h": (2, 5), "c": (2, 5), "recurrent_mask": (0,), "keep": (0,),
    }  # fmt: skip
    flags = ("go_backwards", "zero_output_for_mask", "bfloat16_products")
    arguments = {
        **{name: tf.zeros(shape) for name, shape in shapes.items()},
        **dict.fromkeys(flags, False), "mask": tf.zeros((0,), "bool"), "guard": on_tensorflow.guard(),
        **kernels.cells.DEFAULTS, "cell": "lstm", "keep_tape": True, "return_sequences": True, "threads": 0,
    }  # fmt: skip
    forward = on_tensorflow.library().keras_gates_forward
    forward(**arguments)
    bad = {
        "kernel": tf.zeros((4, 21)), "recurrent_kernel": tf.zeros((5, 19)), "bias": tf.zeros((2, 20)),
        "h": tf.zeros((3, 5)), "c": tf.zeros((2, 6)), "mask": tf.zeros((2, 4), "bool"),
        "x": tf.zeros((2, 0, 4)), "recurrent_mask": tf.zeros((2, 4)), "keep": tf.zeros((2, 3, 5)),
    }  # fmt: skip
    for name, value in bad.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"keras_gates: `{name}` must"):
            forward(**{**arguments, name: value})
    with pytest.raises(tf.errors.InvalidArgumentError, match="vector_names"):
        forward(**{**arguments, "vector_names": "g", "vectors": tf.zeros((1, 5))})
    with pytest.raises(tf.errors.InvalidArgumentError, match="one feature beside the memory below"):
        forward(**{**arguments, "cell": "upper_level", "x": tf.zeros((2, 3, 5))})
    of_one_gate = {"kernel": tf.zeros((4, 5)), "recurrent_kernel": tf.zeros((5, 5)), "bias": tf.zeros((5,))}
    with pytest.raises(tf.errors.InvalidArgumentError, match="`shows_memory` must"):
        forward(**{**arguments, **of_one_gate, "cell": "simple", "shows_memory": True})


def second_derivatives(layer, x, states, mask, cotangents, when, traced):
    """The gradient of a function of all first gradients, with respect to x, states and weights."""
    weights = [variable.value for variable in layer.trainable_variables]

    def differentiate(x, *states):
        sources = [x, *states, *weights]
        with tf.GradientTape() as second:
            second.watch(sources)
            with tf.GradientTape() as first:
                first.watch(sources)
                results = layer(x, initial_state=list(states), mask=mask, training=True)
                total = sum(tf.reduce_sum(r * c) for r, c in zip(results, cotangents, strict=True))
            gradients = first.gradient(total, sources, unconnected_gradients="zero")
            total = sum(tf.reduce_sum(tf.sin(gradient)) for gradient in gradients)
        return second.gradient(total, sources, unconnected_gradients="zero")

    given = [tf.constant(each) for each in (x, *states)]
    with keras_gates.use_kernels(when):
        found = (tf.function(differentiate) if traced else differentiate)(*given)
    return {str(k): gradient.numpy() for k, gradient in enumerate(found)}


@needs_kernels
@pytest.mark.parametrize("name", CELLS)
def test_second_derivatives_are_those_of_the_plain_path(name):
    layer, question = random_layer(CELLS[name], (3, 4, 5, 6, "holes", False))
    assert_close(*(second_derivatives(layer, *question, when, traced=False) for when in ("always", "never")))


@needs_kernels
@pytest.mark.parametrize("return_sequences", [True, False])
def test_second_derivatives_in_a_function_with_dropout_and_backwards(return_sequences):
    found = []
    for when in ("always", "never"):
        arguments = {"dropout": 0.4, "recurrent_dropout": 0.3, "seed": 7}
        layer, question = random_layer(
            CELLS["gru"], (3, 4, 5, 6, "left", True), arguments=arguments, return_sequences=return_sequences,
            zero_output_for_mask=True,
        )  # fmt: skip
        found.append(second_derivatives(layer, *question, when, traced=True))
    assert_close(*found)


@needs_kernels
def test_forward_derivatives_are_those_of_the_plain_path():
    layer, (x, states, mask, _) = random_layer(CELLS["peephole"], (3, 4, 5, 6, "right", False))
    x, found = tf.constant(x), []
    for when in ("always", "never"):
        with keras_gates.use_kernels(when), tf.autodiff.ForwardAccumulator(x, tf.cos(x)) as forward:
            results = layer(x, initial_state=states, mask=mask, training=True)
        found.append({str(k): forward.jvp(result).numpy() for k, result in enumerate(results)})
    assert_close(*found)


def test_use_kernels_takes_its_own_words_alone():
    with pytest.raises(ValueError, match="'sometimes'"):
        keras_gates.use_kernels("sometimes")
    with keras_gates.use_kernels("never"):
        assert kernels._when == "never"
    assert kernels._when != "never"


@needs_kernels
def test_the_self_test_notices_a_wrong_gradient():
    """In the scope where new kernels are tested, where no gradient tape records."""
    from keras_gates.kernels import build, on_tensorflow, selftest

    def run(way, attributes, inputs):
        return on_tensorflow.run_arrays(on_tensorflow.library(), way, attributes, inputs)

    def broken(way, attributes, inputs):
        wrong = {"d_last": inputs["d_last"] + 1} if way == "backward" else {}
        return run(way, attributes, {**inputs, **wrong})

    with tf.init_scope():
        selftest.check(run)
        with pytest.raises(build.BuildError, match="self-test"):
            selftest.check(broken)


# -- building, in processes of their own

TRAIN = """
import logging, os, numpy as np, keras, keras_gates
logging.basicConfig(level=logging.WARNING, format="LOG %(message)s")
keras.utils.set_random_seed(0)
layer = keras_gates.LSTM(4)
for _ in range(2):
    y = layer(np.ones((2, 3, 4), "float32"), training=True)
from keras_gates.kernels import operation
print("SUM", float(y.numpy().sum()), operation.available())
"""


def in_process(cache, code=TRAIN, folder=None, **environment):
    root = str(pathlib.Path(keras_gates.__file__).parents[1])
    env = {
        **os.environ,
        "KERAS_GATES_CACHE": str(cache),
        "PYTHONPATH": root,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **environment,
    }
    return subprocess.Popen([sys.executable, "-c", code], env=env, text=True, cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def output_of(process):
    text, _ = process.communicate(timeout=900)
    assert process.returncode == 0, text
    return text


def test_without_a_compiler_the_plain_path_serves(tmp_path):
    text = output_of(in_process(tmp_path, PATH="", CXX=""))
    assert text.count("LOG ") == 1
    assert "no C++ compiler found" in text
    assert "False" in text


def test_a_failing_compiler_leaves_the_plain_path(tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "error: out of luck" >&2\nexit 1\n')
    compiler.chmod(0o755)
    text = output_of(in_process(tmp_path / "cache", CXX=str(compiler)))
    assert text.count("LOG ") == 1
    assert "out of luck" in text
    assert "False" in text
    assert not list((tmp_path / "cache").glob("*.so"))


@pytest.fixture
def built(tmp_path):
    """The libraries that were built before, and a compiler that gives just these and lists them in `linked`.

    Whatever changes in the sources, the real compiler has built these before any test that asks for kernels.
    """
    from keras_gates.kernels import build, on_tensorflow, operation

    if not operation.available():
        pytest.skip("this machine has no kernels")
    folder = build.cache_folder()
    libraries = [folder / build.file_name(part) for part in (build.CORE, on_tensorflow.part())]
    compiler = tmp_path / "compiler"
    find = 'while [ "$1" != -o ]; do shift; done\nname=$(basename "$2")\n'
    links = f'echo "$name" >> {tmp_path}/linked\nsleep 1  # so that two builds meet\n'
    copies = f'if cp {folder}/"$name" "$2"; then {links}else : > "$2"; fi\n'
    compiler.write_text(f"#!/bin/sh\n{find}{copies}")
    compiler.chmod(0o755)
    return libraries, str(compiler)


def put(content, folder, name):
    """A file of the cache that has the right digest."""
    (folder / name).write_bytes(content + hashlib.sha256(content).digest())
    (folder / name).chmod(0o600)


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


def test_sound_libraries_serve_without_a_compiler(built, cache):
    for library in built[0]:
        shutil.copy(library, cache)
    text = output_of(in_process(cache, PATH="", CXX=""))
    assert "True" in text
    assert "LOG " not in text


def test_prebuilt_libraries_serve_without_a_compiler(built, cache, tmp_path):
    """Those built for this machine, where a wheel has those for a level."""
    from keras_gates.kernels import build, on_tensorflow

    site = tmp_path / "site"
    package = site / "keras_gates"
    shutil.copytree(pathlib.Path(keras_gates.__file__).parent, package)
    best, *_, last = build.levels()
    for library, part, level in zip(built[0], (build.CORE, on_tensorflow.part()), (best, last), strict=True):
        folder = package / "kernels" / "prebuilt" / level
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, folder / build.prebuilt_name(part, level))
    text = output_of(in_process(cache, PATH="", CXX="", PYTHONPATH=str(site), folder=site))
    assert "True" in text
    assert "LOG " not in text
    for library in built[0]:
        assert (cache / library.name).read_bytes() == library.read_bytes()


def test_two_builds_at_once_and_a_damaged_cache(built, cache, tmp_path):
    libraries, compiler = built
    linked = tmp_path / "linked"
    both = [in_process(cache, CXX=compiler), in_process(cache, CXX=compiler)]
    first, second = (output_of(process) for process in both)
    assert "True" in first
    assert first.splitlines()[-1] == second.splitlines()[-1]
    names = sorted(library.name for library in libraries)
    assert sorted(linked.read_text().split()) == names  # each was built once
    whole = {library: library.read_bytes() for library in cache.glob("*.so")}
    assert sorted(library.name for library in whole) == names
    for library, content in whole.items():
        library.write_bytes(content[: len(content) // 2])
    assert output_of(in_process(cache, CXX=compiler)).splitlines()[-1] == first.splitlines()[-1]
    assert sorted(linked.read_text().split()) == sorted(2 * names)
    assert {library: library.read_bytes() for library in whole} == whole


@pytest.mark.parametrize("which", [0, 1], ids=["core", "door"])
@pytest.mark.parametrize("wrong", ["no library", "another library"])
def test_a_wrong_library_with_the_right_digest_is_built_again(wrong, which, built, cache):
    libraries, compiler = built
    another = pathlib.Path(np.__file__).parent.glob("**/*.so")
    put(b"no library" if wrong == "no library" else next(another).read_bytes(), cache, libraries[which].name)
    shutil.copy(libraries[1 - which], cache)
    assert "True" in output_of(in_process(cache, CXX=compiler))
    for library in libraries:
        assert (cache / library.name).read_bytes().startswith(library.read_bytes())


def refusal(cache, monkeypatch, compiler):
    """What `build.load` says of a cache, with a compiler at hand."""
    from keras_gates.kernels import build

    monkeypatch.setenv("KERAS_GATES_CACHE", str(cache))
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(build.BuildError) as refused:
        build.load(build.CORE, lambda path: pytest.fail("built"), lambda path: pytest.fail("loaded"))
    return str(refused.value)


def test_the_lock_is_not_opened_through_a_link(built, cache, monkeypatch, tmp_path):
    (library, _), compiler = built
    target = tmp_path / "precious"
    target.write_text("precious")
    (cache / library.name).with_suffix(".lock").symlink_to(target)
    assert "symbolic link" in refusal(cache, monkeypatch, compiler)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("writers", [0o020, 0o002])
@pytest.mark.parametrize("place", ["folder", "library"])
def test_a_cache_that_others_can_write_to_is_refused(place, writers, built, cache, monkeypatch):
    (library, _), compiler = built
    shutil.copy(library, cache)
    at_risk = cache if place == "folder" else cache / library.name
    at_risk.chmod(0o700 | writers)
    assert f"other users can change {at_risk}" in refusal(cache, monkeypatch, compiler)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize("place", ["folder", "library"])
def test_a_cache_of_another_user_is_refused(place, built, cache, monkeypatch):
    (library, _), compiler = built
    shutil.copy(library, cache)
    at_risk = cache if place == "folder" else cache / library.name
    os.chown(at_risk, 12345, -1)
    assert f"other users can change {at_risk}" in refusal(cache, monkeypatch, compiler)


def test_a_refused_cache_leaves_the_plain_path(cache):
    cache.chmod(0o777)
    text = output_of(in_process(cache))
    assert text.count("LOG ") == 1
    assert "other users can change" in text
    assert "False" in text


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++ here")
def test_a_short_fuzz_under_sanitizers():
    script = pathlib.Path(__file__).parent / "kernels" / "fuzz.sh"
    done = subprocess.run([str(script), "5", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
