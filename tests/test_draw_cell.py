"""DRAW as one cell: held to a transcription of the paper, and used as any other cell."""

import keras
import numpy as np
import oracles
import oracles_attention
import pytest
import tensorflow as tf
from scipy import integrate, stats

import keras_gates as kg
from keras_gates.opened import Opened

HEARD = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
IMAGES = np.random.default_rng(1).random((3, 7, 6, 1)).astype("float32")
WITH = pytest.mark.parametrize("patches", [(3, 4), None], ids=["filters", "whole"])


def layer_of(patches, dtype="float64"):
    """A layer with random weights whose encoder and decoder have 5 and 4 units."""
    read, write = patches or (None, None)
    decoder = kg.LSTMCell(4, dtype=dtype)
    canvas = kg.CanvasCell(decoder, (7, 6, 1), patch=write, learn_initial_state=True, dtype=dtype)
    cell = kg.DrawCell(kg.LSTMCell(5, dtype=dtype), canvas, 4, patch=read, dtype=dtype)
    layer = kg.AttentionRNN(cell, return_sequences=True, dtype=dtype, name="draws")
    layer.build(HEARD.shape, IMAGES.shape)
    rng = np.random.default_rng(7)
    layer.set_weights([rng.normal(size=w.shape, scale=0.4) for w in layer.get_weights()])
    return layer


def transcribed(layer, values, patches):
    """What the transcription draws with these values of the layer's weights: (3, steps, pixels + 1)."""
    named = {weight.path: value for weight, value in zip(layer.weights, values, strict=True)}

    def of(place, *names):
        found = [[named[path] for path in named if path.endswith(f"{place}/{name}")] for name in names]
        assert all(len(each) == 1 for each in found)
        return [each[0] for each in found]

    def lstm(weights):
        weights = dict(zip(("kernel", "recurrent_kernel", "bias"), weights, strict=True))
        return lambda x, states: oracles.lstm(x, states, weights)[1]

    cell = layer.cell
    encode = lstm(of(cell.cell.name, "kernel", "recurrent_kernel", "bias"))
    decode = lstm(of(cell.canvas.cell.name, "kernel", "recurrent_kernel", "bias"))
    weights = {
        "latent": of(cell.name, "latent_kernel", "latent_bias"),
        "write": of(cell.canvas.name, "write_kernel", "write_bias"),
    }
    if patches:
        weights["read"] = of(cell.attention.name, "kernel", "bias")
    start = [np.zeros(5), np.zeros(5), np.zeros(4), np.zeros(4), *of(cell.canvas.name, "initial_canvas")]
    found = [
        oracles_attention.draw_steps(image[..., 0], noise, start, weights, encode, decode, patches)
        for image, noise in zip(IMAGES.astype("float64"), HEARD.astype("float64"), strict=True)
    ]
    return np.array([np.concatenate([canvas, kl[:, None]], axis=1) for canvas, kl in found])


@WITH
def test_draws_what_the_transcription_draws_gradients_included(patches):
    layer = layer_of(patches)
    with tf.GradientTape() as tape:
        outputs = layer(HEARD.astype("float64"), memory=IMAGES.astype("float64"))
        loss = tf.reduce_sum(tf.sin(outputs))
    values = layer.get_weights()
    np.testing.assert_allclose(outputs, transcribed(layer, values, patches), rtol=1e-9, atol=1e-11)
    gradients = tape.gradient(loss, [weight.value for weight in layer.weights])
    rng = np.random.default_rng(3)
    for k, gradient in enumerate(gradients):
        place = tuple(rng.integers(0, values[k].shape))
        ends = []
        for step in (1e-6, -1e-6):
            moved = [value.copy() for value in values]
            moved[k][place] += step
            ends.append(np.sin(transcribed(layer, moved, patches)).sum())
        np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6)


def test_the_divergence_is_that_of_two_normal_distributions():
    layer = layer_of((3, 4))
    inputs = keras.Input(HEARD.shape[1:]), keras.Input(IMAGES.shape[1:])
    told = kg.trace(keras.Model(inputs, layer(inputs[0], memory=inputs[1])), [HEARD, IMAGES])["draws"]
    mean, stddev = (told[name][0, 0].astype("float64") for name in ("mean", "stddev"))
    expected = 0.0
    for m, s in zip(mean, stddev, strict=True):
        q, p = stats.norm(m, s), stats.norm(0, 1)
        expected += integrate.quad(lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -30, 30)[0]
    np.testing.assert_allclose(told["kl"][0, 0, 0], expected, rtol=1e-5)


@WITH
def test_the_canvas_alone_draws_what_was_encoded(patches):
    """Given z, encoder and picture have no further part in what is drawn: so z of the prior is a picture."""
    layer = layer_of(patches, "float32")
    inputs = keras.Input(HEARD.shape[1:]), keras.Input(IMAGES.shape[1:])
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    told = kg.trace(model, [HEARD, IMAGES])["draws"]
    z = told["mean"] + told["stddev"] * HEARD
    drawn = kg.RNN(layer.cell.canvas, return_sequences=True)(z)
    np.testing.assert_allclose(drawn, model([HEARD, IMAGES])[..., :-1], rtol=1e-4, atol=1e-5)


def test_saves_loads_and_steps(tmp_path):
    layer = layer_of((3, 4), "float32")
    inputs = keras.Input((None, 4), name="noise"), keras.Input(IMAGES.shape[1:], name="memory")
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    expected = model.predict([HEARD, IMAGES], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict([HEARD, IMAGES], verbose=0), expected)
    opened = Opened(model, "noise")
    context = opened.context({"memory": IMAGES})
    states = opened.initial_states(context, batch_size=3)
    for t in range(2):
        outputs, states = opened.step({"noise": HEARD[:, t]}, states, context)
        np.testing.assert_allclose(outputs["outputs"], expected[:, t], rtol=1e-4, atol=1e-4)


def test_a_trace_tells_of_both_cells():
    layer = layer_of((3, 4), "float32")
    inputs = keras.Input((None, 4)), keras.Input(IMAGES.shape[1:])
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    told = kg.trace(model, [HEARD, IMAGES])["draws"]
    both = {"h", "c", "i", "f", "g", "o", "center", "stride", "variance", "intensity"}
    expected = {f"{role}{name}" for role in ("", "decoder_") for name in both}
    assert set(told) == expected | {"decoder_canvas", "mean", "stddev", "kl", "output"}
    outputs = model([HEARD, IMAGES])
    np.testing.assert_allclose(told["decoder_canvas"], outputs[..., :-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(told["kl"], outputs[..., -1:], rtol=1e-4, atol=1e-5)


def test_saves_and_loads_without_attention_unrolled(tmp_path):
    layer = layer_of(None, "float32")
    inputs = keras.Input(HEARD.shape[1:]), keras.Input(IMAGES.shape[1:])
    unrolled = kg.AttentionRNN(layer.cell, return_sequences=True, unroll=True)
    model = keras.Model(inputs, unrolled(inputs[0], memory=inputs[1]))
    expected = model.predict([HEARD, IMAGES], verbose=0)
    np.testing.assert_allclose(layer(HEARD, memory=IMAGES), expected, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict([HEARD, IMAGES], verbose=0), expected)


def test_is_finite_for_large_weights():
    layer = layer_of((3, 4), "float32")
    layer.set_weights([100 * weight for weight in layer.get_weights()])
    with tf.GradientTape() as tape:
        outputs = layer(HEARD, memory=IMAGES)
        loss = tf.reduce_mean(outputs)
    assert np.isfinite(outputs).all()
    assert all(np.isfinite(x).all() for x in tape.gradient(loss, [weight.value for weight in layer.weights]))


def test_half_precision_is_near():
    layer, half = layer_of((3, 4), "float32"), layer_of((3, 4), "mixed_float16")
    outputs = half(HEARD, memory=IMAGES)
    assert outputs.dtype == "float16"
    np.testing.assert_allclose(outputs, layer(HEARD, memory=IMAGES), rtol=0.1, atol=0.1)


def test_a_learned_canvas_is_where_drawing_starts():
    cell = kg.CanvasCell(kg.GRUCell(3), (2, 2, 1), learn_initial_state=True)
    layer = kg.RNN(cell, return_sequences=True)
    layer.build((3, 5, 4))
    blank = layer(HEARD)
    cell.initial_canvas.assign([1.0, -2.0, 3.0, 0.5])
    np.testing.assert_allclose(layer(HEARD) - blank, np.full((3, 5, 4), [1, -2, 3, 0.5]), atol=1e-5)
    assert not kg.CanvasCell(kg.GRUCell(3), (2, 2, 1)).learn_initial_state


def canvas(**of_cell):
    return kg.CanvasCell(kg.GRUCell(3, **of_cell), (7, 6, 1))


def cell(latent, patch=None, **of_decoder):
    return kg.DrawCell(kg.GRUCell(3), canvas(**of_decoder), latent, patch=patch)


@pytest.mark.parametrize(
    "use, error, sentence",
    [
        (lambda: kg.DrawCell(kg.GRUCell(3), kg.GRUCell(3), 2), TypeError, "must be a CanvasCell; got"),
        (lambda: cell(0), ValueError, "`latent` must be a positive integer; got 0"),
        (lambda: cell(2, patch=0), ValueError, "`patch` must be a positive integer; got 0"),
        (lambda: cell(2, dropout=0.1), ValueError, "takes cells without dropout; got"),
        (lambda: cell(2, recurrent_dropout=0.1), ValueError, "takes cells without dropout; got"),
        (
            lambda: kg.DrawCell(kg.ResidualCell(kg.GRUCell(3, dropout=0.1)), canvas(), 2),
            ValueError,
            "takes cells without dropout; got",
        ),
        (
            lambda: kg.AttentionRNN(cell(2))(HEARD, memory=IMAGES),
            ValueError,
            "noise of 2 features, `latent`; got 4",
        ),
        (
            lambda: kg.AttentionRNN(cell(4))(HEARD, memory=IMAGES[:, 1:]),
            ValueError,
            r"pictures of shape \(7, 6, 1\); its memory has \(6, 6, 1\)",
        ),
        (lambda: kg.RNN(cell(4))(HEARD), ValueError, "has no memory to look at"),
    ],
)
def test_says_what_is_wrong(use, error, sentence):
    with pytest.raises(error, match=sentence):
        use()
