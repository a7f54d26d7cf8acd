"""What comes from Keras and from TensorFlow Addons does here what it did there.

Addons does not run beside this Keras: its cells are held to the figures that its own tests pin, and to NumPy.
"""

import keras
import numpy as np
import oracles
import pytest

import keras_gates as kg

x = np.random.default_rng(1).normal(size=(3, 6, 4)).astype("float32")


@pytest.mark.parametrize(
    "source",
    [
        keras.layers.LSTM(5, return_sequences=True, return_state=True, dropout=0.1, activation="softsign"),
        keras.layers.LSTM(5, use_bias=False, go_backwards=True, kernel_regularizer="l2", name="mine"),
        keras.layers.GRU(5, return_sequences=True, recurrent_activation="hard_sigmoid"),
        keras.layers.GRU(5, reset_after=False, bias_initializer="ones"),
        keras.layers.SimpleRNN(5, unroll=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_of_keras(source):
    source.build(x.shape)
    for weight in source.weights:
        weight.assign(np.random.default_rng(2).normal(size=weight.shape))
    ours = kg.from_keras(source)
    assert type(ours) is getattr(kg, type(source).__name__)
    assert ours.name == source.name
    for one, other in zip(keras.tree.flatten(ours(x)), keras.tree.flatten(source(x)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_cells_of_keras(name):
    source = getattr(keras.layers, name)(5, seed=3)
    assert not kg.from_keras(source).built
    theirs = keras.layers.RNN(source)(x)
    ours = kg.from_keras(source)
    assert type(ours) is getattr(kg, name)
    np.testing.assert_allclose(keras.layers.RNN(ours)(x), theirs, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, per_gate",
    [
        ({"dropout": 0.5}, False),
        ({"dropout": 0.25, "recurrent_dropout": 0.5}, True),
        ({"recurrent_dropout": 0.5}, True),
    ],
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_layers_of_keras_drop_the_same_units(kind, arguments, per_gate):
    """From one seed the masks are the same: outputs in training and the gradients of all weights."""
    source = getattr(keras.layers, kind)(5, seed=7, **arguments)
    source.build(x.shape)
    ours = kg.from_keras(source)
    assert ours.cell.dropout_per_gate is (per_gate and kind != "SimpleRNN")
    models = [keras.Sequential([keras.Input(x.shape[1:]), layer]) for layer in (source, ours)]
    for model in models:
        model.compile(keras.optimizers.SGD(1.0), "mse")
        with kg.use_kernels("never"):  # they round otherwise, and this rate amplifies it
            model.fit(x, np.ones((3, 5)), epochs=3, batch_size=3, shuffle=False, verbose=0)
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_penalty_on_the_output_is_kept():
    ours = kg.from_keras(keras.layers.GRU(5, activity_regularizer=keras.regularizers.L2(0.5)))
    assert ours.get_config()["activity_regularizer"]["config"] == {"l2": 0.5}


def test_what_is_not_of_keras_is_refused():
    with pytest.raises(TypeError, match="`source` must be one of Keras' LSTM, GRU"):
        kg.from_keras(keras.layers.Dense(3))


def test_a_whole_model_of_keras():
    """The recipe of docs/migration.md."""
    model = keras.Sequential(
        [keras.Input((None, 4)), keras.layers.LSTM(5, return_sequences=True), keras.layers.GRU(3)]
    )

    def ours(layer):
        recurrent = isinstance(layer, (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN))
        return kg.from_keras(layer) if recurrent else layer.from_config(layer.get_config())

    moved = keras.models.clone_model(model, clone_function=ours)
    moved.set_weights(model.get_weights())
    np.testing.assert_allclose(moved(x), model(x), atol=1e-6)
    assert [type(layer) for layer in moved.layers] == [kg.LSTM, kg.GRU]


def test_peephole_cell_of_addons_gives_the_figure_pinned_there():
    """tensorflow/addons, tests/peephole_lstm_cell_test.py: ones for W and p, 1 for b_f, else 0."""
    units, config = 5, {"units": 5, "kernel_initializer": "ones", "implementation": 2, "dtype": "float32"}
    bias = np.repeat([0.0, 1.0, 0.0, 0.0], units)
    weights = [np.ones((4, 20)), np.random.default_rng(0).normal(size=(5, 20)), bias, *np.ones((3, units))]
    cell = kg.from_addons("PeepholeLSTMCell", config, weights)
    one_hot = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], "float32")
    output, _ = cell(one_hot, cell.get_initial_state(4))
    pinned = np.repeat([[0.417551], [0.417551], [0.417551], [0.0]], units, axis=1)
    np.testing.assert_allclose(output, pinned, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("features", [2, 3])
def test_layer_norm_lstm_of_addons_gives_the_figures_pinned_there(features):
    """tensorflow/addons, tests/layer_norm_lstm_cell_test.py: matrices and bias of 0.5, ε of 1e-12."""
    config = {
        "units": 2,
        "norm_epsilon": 1e-12,
        "norm_gamma_initializer": "ones",
        "norm_beta_initializer": "zeros",
    }
    weights = [np.full((features, 8), 0.5), np.full((2, 8), 0.5), np.full(8, 0.5)]
    norms = [np.ones(8), np.zeros(8), np.ones(8), np.zeros(8), np.ones(2), np.zeros(2)]
    cell = kg.from_addons("LayerNormLSTMCell", config, weights + norms)
    before = [np.array([[0.2, 0.3]], "float32"), np.array([[0.0, 0.1]], "float32")]
    output, (h, c) = cell(np.ones((1, features), "float32"), before)
    np.testing.assert_allclose(output, [[-0.47406167, 0.47406143]], rtol=1e-5)
    np.testing.assert_allclose(h, [[-0.47406167, 0.47406143]], rtol=1e-5)
    np.testing.assert_allclose(c, [[-1.0, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("use_bias", [True, False])
def test_layer_norm_lstm_of_addons_equals_numpy(use_bias):
    rng = np.random.default_rng(3)
    shapes = {"kernel": (4, 20), "recurrent_kernel": (5, 20), "bias": (20,)}
    shapes |= {f"{of}_{part}": (20,) for of in ("kernel", "recurrent") for part in ("gain", "shift")}
    shapes |= {"state_gain": (5,), "state_shift": (5,)}
    if not use_bias:
        del shapes["bias"]
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    cell = kg.from_addons("LayerNormLSTMCell", {"units": 5, "use_bias": use_bias}, list(weights.values()))

    def step(x, states):
        return oracles.layer_norm_lstm(x, states, weights, epsilon=1e-3, carry_normalized=True)

    expected = oracles.run(step, x.astype("float64"), [np.zeros((3, 5))] * 2)
    np.testing.assert_allclose(
        keras.layers.RNN(cell, return_sequences=True)(x), expected.outputs, rtol=1e-4, atol=1e-5
    )


def test_layer_norm_simple_cell_of_addons_equals_numpy():
    rng = np.random.default_rng(4)
    kernel, recurrent, bias, gamma = (rng.normal(size=shape) for shape in ((4, 5), (5, 5), (5,), (5,)))
    config = {"units": 5, "layernorm_epsilon": 1e-5, "gamma_initializer": "ones"}
    cell = kg.from_addons("LayerNormSimpleRNNCell", config, [kernel, recurrent, bias, gamma])
    h = np.zeros((3, 5))
    for t in range(6):
        a = x[:, t] @ kernel + h @ recurrent
        a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)
        h = np.tanh(gamma * a + bias)
    np.testing.assert_allclose(keras.layers.RNN(cell)(x), h, rtol=1e-4, atol=1e-5)


def test_what_is_not_of_addons_is_refused():
    with pytest.raises(ValueError, match="`name` must be one of 'PeepholeLSTMCell'"):
        kg.from_addons("NASCell", {"units": 2}, [])
    with pytest.raises(ValueError, match=r"must come to the shapes .*; they come to"):
        kg.from_addons("PeepholeLSTMCell", {"units": 2}, [np.ones((3, 8))])
