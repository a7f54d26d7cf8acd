"""Spatial transformers: they sample as SciPy does, are the identity at first, and work in steps too."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

import keras_gates as kg
from keras_gates.attention.affine import TRANSFORMS, entries_of, sampled, theta_of, transformed

PICTURES = np.random.default_rng(2).random((3, 9, 8, 2)).astype("float32")
# Ours, which are those of keras.ops.image.map_coordinates, and SciPy's names for the same.
FILL_MODES = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "reflect": "reflect",
    "mirror": "mirror",
    "wrap": "grid-wrap",
}
each_mode = pytest.mark.parametrize("mode", FILL_MODES)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


def by_scipy(pictures, y, x, mode, fill_value=0.0):
    """Pictures at points in pixels `(batch, …)`, in float64."""
    options = {"order": 1, "mode": FILL_MODES[mode], "cval": fill_value}
    channels = np.moveaxis(pictures.astype("float64"), -1, 0)
    found = [
        [map_coordinates(picture, place, **options) for picture, *place in zip(channel, y, x, strict=True)]
        for channel in channels
    ]
    return np.moveaxis(np.array(found), 0, -1)


def points(count=200, seed=3):
    """Rows and columns, some of them far outside of the picture, some on its pixels and edges."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(-30, 40, (2, 3, count)).astype("float32")
    y[:, : count // 2], x[:, : count // 2] = rng.uniform(-1.5, 9.5, (2, 3, count // 2))
    y[:, :6], x[:, :6] = [-1, 0, 8, 9, 8.5, -0.5], [-0.5, 7, 0, 7.5, 8, -1]
    return y, x


@each_mode
def test_samples_as_scipy_does(mode):
    y, x = points()
    found = sampled(PICTURES, y, x, mode, 0.7)
    np.testing.assert_allclose(found, by_scipy(PICTURES, y, x, mode, 0.7), rtol=1e-5, atol=1e-5)


@each_mode
def test_samples_one_row_of_pixels_as_scipy_does(mode):
    y, x = points()
    row = PICTURES[:, :1]
    np.testing.assert_allclose(sampled(row, y, x, mode), by_scipy(row, y, x, mode), rtol=1e-5, atol=1e-5)


@each_mode
def test_gradients_are_those_of_finite_differences(mode):
    """In float64, in θ and in the pictures, at points inside and outside."""
    rng = np.random.default_rng(4)
    pictures = rng.random((1, 3, 4, 1))
    theta = np.eye(2, 3) + rng.normal(size=(1, 2, 3), scale=0.5)
    weights = rng.normal(size=(1, 6, 5, 1))

    def loss(pictures, theta):
        result = transformed(tf.convert_to_tensor(pictures), tf.convert_to_tensor(theta), (6, 5), mode, 0.3)
        return tf.reduce_sum(result * weights)

    given = [tf.constant(pictures), tf.constant(theta)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        found = loss(*given)
    for k, gradient in enumerate(tape.gradient(found, given)):
        slopes = np.zeros(given[k].shape)
        for place in np.ndindex(slopes.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [pictures.copy(), theta.copy()]
                moved[k][place] += step
                ends.append(loss(*moved))
            slopes[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-6)


def test_a_transformation_takes_its_pixels_from_where_theta_says():
    """Each pixel of the result, by the formula of the paper and SciPy."""
    rng = np.random.default_rng(5)
    theta = (np.eye(2, 3) + rng.normal(size=(3, 2, 3), scale=0.4)).astype("float32")
    height, width = 6, 11
    target = [[np.linspace(-1, 1, width)[i], np.linspace(-1, 1, height)[j], 1] for j, i in np.ndindex(6, 11)]
    source = theta @ np.array(target).T
    x, y = (source[:, 0] + 1) / 2 * 7, (source[:, 1] + 1) / 2 * 8
    expected = by_scipy(PICTURES, y, x, "constant").reshape(3, height, width, 2)
    np.testing.assert_allclose(transformed(PICTURES, theta, (height, width)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "transform, parameters, expected",
    [
        ("affine", [1, 2, 3, 4, 5, 6], [[2, 2, 3], [4, 6, 6]]),
        ("scale_and_translation", [-0.5, 2, 3], [[0.5, 0, 2], [0, 0.5, 3]]),
        ([(1, 2)], [7], [[1, 0, 0], [0, 1, 7]]),
        ([(1, 0), (0, 1)], [2, 3], [[1, 3, 0], [2, 1, 0]]),
        ([[0, 0], [1, 1]], [2, 3], [[3, 0, 0], [0, 4, 0]]),
    ],
)
def test_any_entries_of_theta_may_be_free(transform, parameters, expected):
    theta = theta_of(np.array([parameters], "float32"), entries_of(transform))
    np.testing.assert_allclose(theta, [expected])


def localisation(sequence=False):
    layers = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.Flatten()]
    if sequence:
        layers += [keras.layers.RepeatVector(4), kg.GRU(5, return_sequences=True)]
    return keras.Sequential(layers)


def model_of(transform="affine", sequence=False, **options):
    inputs = keras.Input((9, 8, 2), name="inputs")
    layer = kg.SpatialTransformer(localisation(sequence), transform=transform, **options)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("transform", [*TRANSFORMS, [(0, 2), (1, 2)]], ids=str)
def test_is_the_identity_at_first(transform):
    np.testing.assert_allclose(model_of(transform)(PICTURES), PICTURES, atol=1e-5)


def test_learns_to_move():
    model = model_of([(0, 2), (1, 2)])
    shifted = np.pad(PICTURES, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
    model.compile(keras.optimizers.Adam(0.01), "mse")
    before = model.evaluate(PICTURES, shifted, verbose=0)
    model.fit(PICTURES, shifted, epochs=20, verbose=0)
    assert model.evaluate(PICTURES, shifted, verbose=0) < before / 2


@pytest.mark.parametrize("sequence", [False, True], ids=["once", "in each step"])
def test_saves_loads_and_exports(sequence, tmp_path):
    model = model_of("scale_and_translation", sequence, size=(5, 6), fill_mode="mirror")
    rng = np.random.default_rng(6)
    model.set_weights([rng.normal(size=w.shape, scale=0.3) for w in model.get_weights()])
    assert model.output.shape == ((None, 4, 5, 6, 2) if sequence else (None, 5, 6, 2))
    expected = model.predict(PICTURES, verbose=0)
    assert expected.shape[1:] == model.output.shape[1:]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(PICTURES, verbose=0), expected)
    kg.export(model, tmp_path / "exported", ())
    served = tf.saved_model.load(str(tmp_path / "exported")).signatures["serving_default"]
    np.testing.assert_allclose(served(inputs=tf.constant(PICTURES))["outputs"], expected, atol=1e-5)


def test_in_each_step_the_picture_is_seen_through_the_theta_of_the_step():
    model = model_of(sequence=True)
    np.testing.assert_allclose(model(PICTURES), PICTURES[:, None].repeat(4, 1), atol=1e-5)
    layer = model.layers[-1]
    layer.kernel.assign(np.random.default_rng(7).normal(size=layer.kernel.shape))
    theta = np.array(layer.theta(PICTURES))
    assert theta.shape == (3, 4, 2, 3) and np.abs(np.diff(theta, axis=1)).min() > 1e-4
    for t in range(4):
        expected = transformed(PICTURES, theta[:, t], (9, 8))
        np.testing.assert_allclose(model(PICTURES)[:, t], expected, atol=1e-5)


def test_an_attention_that_looks_through_a_transformation_shows_its_theta():
    """The picture of each step is that of the θ in the trace, which starts as the identity."""
    cell = kg.GravesCell(kg.GRUCell(5), kg.AffineAttention((4, 5)), seen_size=4 * 5 * 2)
    layer = kg.AttentionRNN(cell, return_sequences=True, name="looks")
    inputs = keras.Input((None, 1)), keras.Input((9, 8, 2))
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    given = [np.ones((3, 2, 1), "float32"), PICTURES]
    np.testing.assert_array_equal(
        kg.trace(model, given)["looks"]["theta"], np.broadcast_to([1, 0, 0, 0, 1, 0], (3, 2, 6))
    )
    rng = np.random.default_rng(8)
    model.set_weights([rng.normal(size=w.shape, scale=0.3) for w in model.get_weights()])
    shown = kg.trace(model, given)["looks"]
    kernel, bias = (weight.numpy() for weight in cell.attention.trainable_weights)
    np.testing.assert_allclose(
        shown["theta"], shown["h"] @ kernel + bias + [1, 0, 0, 0, 1, 0], rtol=1e-4, atol=1e-5
    )
    for t in range(2):
        expected = transformed(PICTURES, shown["theta"][:, t].reshape(3, 2, 3), (4, 5))
        np.testing.assert_allclose(shown["a"][:, t].reshape(3, 4, 5, 2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "float64"])
@each_mode
def test_in_other_dtypes_and_for_any_theta_it_is_finite(mode, dtype):
    layer = kg.SpatialTransformer(keras.layers.Flatten(), fill_mode=mode, dtype=dtype)
    assert keras.backend.standardize_dtype(layer(PICTURES).dtype) == layer.compute_dtype
    for value in (1e4, -1e4):
        layer.bias.assign([value] * 6)
        assert np.isfinite(np.array(layer(PICTURES), "float32")).all()


@pytest.mark.parametrize(
    "use, error, sentence",
    [
        (lambda: kg.SpatialTransformer("cnn"), TypeError, "`localisation` must be a Keras layer .*'cnn'"),
        (lambda: model_of("shear"), ValueError, "`transform` must be one of .*'shear'"),
        (lambda: model_of([(2, 0)]), ValueError, r"`transform` must be one of .*\[\(2, 0\)\]"),
        (lambda: model_of([(0, 0), (0, 0)]), ValueError, "pairs .* that differ"),
        (lambda: model_of([]), ValueError, r"got \[\]"),
        (lambda: model_of(fill_mode="black"), ValueError, "`fill_mode` must be one of .*'black'"),
        (lambda: model_of(size=(3, 0)), ValueError, "`size` must be a positive integer; got 0"),
        (
            lambda: kg.SpatialTransformer(keras.layers.Conv2D(2, 3))(PICTURES),
            ValueError,
            r"`localisation` .* it gives \(3, 7, 6, 2\)",
        ),
        (
            lambda: kg.SpatialTransformer(localisation())(keras.Input((None, 8, 1))),
            ValueError,
            r"whose size is known; got inputs of shape \(None, None, 8, 1\)",
        ),
    ],
)
def test_says_what_is_wrong(use, error, sentence):
    with pytest.raises(error, match=sentence):
        use()
