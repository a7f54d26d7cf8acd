"""Attention at a position: the soft window, the grid of DRAW, the retina; each against its transcription."""

import itertools

import keras
import numpy as np
import oracles_attention as oracles
import pytest
import tensorflow as tf
from scipy.stats import norm

import keras_gates as kg
from keras_gates.opened import Opened

TEXT = np.random.default_rng(1).normal(size=(3, 7, 6)).astype("float32")
THERE = np.arange(7) < np.array([[7], [4], [0]])
PICTURES = np.random.default_rng(2).random((3, 9, 8, 2)).astype("float32")
HEARD = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")

# By name: how to make an attention, its memory, and how wide the vector is that it sees.
ATTENTIONS = {
    "window": (lambda **of: kg.SoftWindow(3, **of), TEXT, 6),
    "draw": (lambda **of: kg.DrawAttention(4, **of), PICTURES, 4 * 4 * 2),
    "retina": (lambda **of: kg.RetinaAttention(3, 2, **of), PICTURES, 3 * 3 * 2 * 2 + 2),
    "affine": (lambda **of: kg.AffineAttention((3, 4), **of), PICTURES, 3 * 4 * 2),
}
CELLS = {
    "bahdanau": lambda cell, attention, size: kg.BahdanauCell(cell, attention),
    "luong": lambda cell, attention, size: kg.LuongCell(cell, attention),
    "graves": lambda cell, attention, size: kg.GravesCell(cell, attention, seen_size=size),
}
each_attention = pytest.mark.parametrize("kind", ATTENTIONS)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(1)


def model_of(kind, cell, dtype="float32", inside=None, **of_attention):
    """A model whose decoder attends, with random weights."""
    make, memory, size = ATTENTIONS[kind]
    inside = kg.GRUCell(5, dtype=dtype) if inside is None else inside
    looking = CELLS[cell](inside, make(dtype=dtype, **of_attention), size)
    layer = kg.AttentionRNN(looking, return_sequences=True, name="decoder", dtype=dtype)
    shape = (None, memory.shape[-1]) if memory.ndim == 3 else memory.shape[1:]
    inputs = keras.Input((None, 4), name="heard"), keras.Input(shape, name="memory")
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
    return model


def alone(attention, query, memory, mask=None):
    """An attention in float64 with random weights, which has its memory."""
    attention.build(query.shape, memory.shape)
    rng = np.random.default_rng(4)
    attention.set_weights([rng.normal(size=w.shape, scale=0.5) for w in attention.get_weights()])
    attention.attend_to(memory, mask)
    return attention


def queries(steps=1):
    return np.random.default_rng(5).normal(size=(steps, 3, 5))


def assert_gradient(attention, found, expected):
    """The gradients of Σ found² in the weights are those of central differences of what is expected."""
    loss, tape = found
    gradients = tape.gradient(loss, attention.trainable_weights)
    weights = attention.get_weights()
    for k, gradient in enumerate(gradients):
        for place in np.random.default_rng(6).integers(0, weights[k].shape, (8, weights[k].ndim)):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [w.copy() for w in weights]
                moved[k][tuple(place)] += step
                ends.append(expected(moved))
            np.testing.assert_allclose(
                gradient[tuple(place)], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6
            )


# -------------------------------------------------------------------------------------------- the soft window


def transcribed_window(weights, steps):
    """What the window sees in each of the steps, φ and κ: `(steps, batch, …)`."""
    found = []
    kappa = np.zeros((3, 3))
    for query in steps:
        rows = [
            oracles.soft_window(q, *weights, k, m)
            for q, k, m in zip(query, kappa, TEXT.astype("float64"), strict=True)
        ]
        seen, phi, kappa = (np.array(part) for part in zip(*rows, strict=True))
        found.append((seen, phi, kappa))
    return [np.array(part) for part in zip(*found, strict=True)]


def test_window_is_the_transcription_in_every_step_gradients_included():
    steps = queries(4)
    window = alone(kg.SoftWindow(3, dtype="float64"), steps[0], TEXT)

    def run():
        states, seen = [np.zeros((3, 3))], []
        for query in steps:
            now, states, reported = window.advance(query, states)
            seen.append((now, reported["alignment"], states[0]))
        return seen

    for ours, theirs in zip(
        zip(*run(), strict=True), transcribed_window(window.get_weights(), steps), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(seen**2) for seen, _, _ in run())
    assert_gradient(window, (loss, tape), lambda w: np.sum(transcribed_window(w, steps)[0] ** 2))


@pytest.mark.parametrize("cell", CELLS)
def test_window_in_a_cell_asks_with_the_right_state(cell):
    """From the states that the trace shows, the transcription gives the φ and κ that the trace shows."""
    model = model_of("window", cell)
    shown = kg.trace(model, [HEARD, TEXT])["decoder"]
    h = shown["h"].swapaxes(0, 1)
    asked = h if cell != "bahdanau" else np.concatenate([np.zeros_like(h[:1]), h[:-1]])
    weights = [w.numpy() for w in model.get_layer("decoder").cell.attention.trainable_weights]
    seen, phi, kappa = transcribed_window(weights, asked.astype("float64"))
    np.testing.assert_allclose(shown["alignment"], phi.swapaxes(0, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shown["kappa"], kappa.swapaxes(0, 1), rtol=1e-5)
    if cell == "graves":
        np.testing.assert_allclose(shown["a"], seen.swapaxes(0, 1), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(shown["output"], np.concatenate([shown["h"], shown["a"]], axis=-1))
        np.testing.assert_allclose(model([HEARD, TEXT]), shown["output"], rtol=1e-4, atol=1e-5)


def test_graves_cell_steps_with_what_it_saw_last():
    model = model_of("window", "graves")
    cell = model.get_layer("decoder").cell
    shown = kg.trace(model, [HEARD, TEXT])["decoder"]
    before = np.concatenate([np.zeros((3, 1, 6)), shown["a"][:, :-1]], axis=1)
    plain = keras.layers.RNN(cell.cell, return_sequences=True)
    np.testing.assert_allclose(plain(np.concatenate([HEARD, before], axis=-1)), shown["h"], atol=1e-5)


def test_window_only_moves_forwards_and_hides_padding():
    window = alone(kg.SoftWindow(3, dtype="float64"), queries()[0], TEXT, THERE)
    garbage = alone(
        kg.SoftWindow(3, dtype="float64"), queries()[0], np.where(THERE[..., None], TEXT, np.nan), THERE
    )
    states = [np.zeros((3, 3))]
    for query in queries(3):
        seen, after, reported = window.advance(query, states)
        np.testing.assert_array_equal(garbage.advance(query, states)[0], seen)
        assert np.all(after[0] > states[0])
        np.testing.assert_array_equal(np.array(reported["alignment"])[~THERE], 0)
        np.testing.assert_array_equal(seen[2], 0)
        states = after
    # the weight behind the last position is what the next position would have
    short = alone(kg.SoftWindow(3, dtype="float64"), queries()[0], TEXT[:, :4])
    whole = alone(kg.SoftWindow(3, dtype="float64"), queries()[0], TEXT)
    ends = short.advance(query, states)[2]["end"], window.advance(query, states)[2]["end"]
    np.testing.assert_allclose(ends[0][:, 0], whole.advance(query, states)[2]["alignment"][:, 4])
    np.testing.assert_allclose(ends[1][1], ends[0][1])


def test_a_model_with_a_window_writes_and_says_where_it_stood():
    """Strokes for a text, drawn one by one; the alignments are those of the whole model on what was drawn."""
    text, pen = keras.Input((None, 6), name="text"), keras.Input((None, 3), name="pen")
    cell = kg.GravesCell(kg.LSTMCell(5), kg.SoftWindow(2, stride=0.5), seen_size=6)
    x = kg.AttentionRNN(cell, return_sequences=True, name="writes")(pen, memory=text)
    model = keras.Model([text, pen], kg.MixtureDensity(2, 2, covariance="full", pen=True)(x))
    how = kg.Sampling(seed=2)
    written = kg.write(model, over="pen", context=TEXT, start=[0, 0, 0], length=4, how=how)
    heard = np.concatenate([np.zeros((3, 1, 3), "float32"), written.tokens[:, :-1]], axis=1)
    shown = kg.trace(model, [TEXT, heard])["writes"]
    assert written.tokens.shape == (3, 4, 3)
    np.testing.assert_allclose(written.alignments["writes"], shown["alignment"], rtol=1e-4, atol=1e-5)


def test_window_starts_with_the_stride_that_is_asked_for():
    window = kg.SoftWindow(2, stride=0.04, kernel_initializer="zeros")
    window.build((None, 5), TEXT.shape)
    window.attend_to(TEXT)
    np.testing.assert_allclose(window.advance(queries()[0], [np.zeros((3, 2))])[1][0], 0.04, rtol=1e-6)


def test_window_is_finite_for_any_query():
    window = alone(kg.SoftWindow(3), queries()[0], TEXT)
    for scale in (1e4, -1e4):
        seen, states, reported = window.advance(scale * queries()[0], [np.zeros((3, 3))])
        assert all(np.isfinite(x).all() for x in (seen, *states, *reported.values()))


# ------------------------------------------------------------------------------------------------------- DRAW


def numbers_of(weights, query):
    return query @ weights[0] + weights[1]


def transcribed_reading(weights, query, patch):
    return np.array(
        [
            np.stack(
                [oracles.grid_read(picture[..., c], numbers, patch) for c in range(picture.shape[-1])], -1
            ).ravel()
            for picture, numbers in zip(PICTURES, numbers_of(weights, query), strict=True)
        ]
    )


def test_draw_reads_what_the_transcription_reads_gradients_included():
    query = queries()[0]
    attention = alone(kg.DrawAttention(4, dtype="float64"), query, PICTURES.astype("float64"))
    with tf.GradientTape() as tape:
        seen, _, reported = attention.advance(query, [])
        loss = tf.reduce_sum(seen**2)
    weights = attention.get_weights()
    np.testing.assert_allclose(seen, transcribed_reading(weights, query, 4), rtol=1e-10)
    assert_gradient(attention, (loss, tape), lambda w: np.sum(transcribed_reading(w, query, 4) ** 2))
    x, y, variance, _, intensity = numbers_of(weights, query).T
    np.testing.assert_allclose(reported["center"], np.stack([(x + 1) * 4.5 - 1, (y + 1) * 5 - 1], -1))
    np.testing.assert_allclose(reported["variance"][:, 0], np.exp(variance))
    np.testing.assert_allclose(reported["intensity"][:, 0], np.exp(intensity))
    mass = np.array([oracles.grid_filters(n, 4, 9, 8)[0] for n in numbers_of(weights, query)])
    assert mass.shape == (3, 4, 8)


def test_draw_reports_the_stride_between_its_filters():
    """Sharp filters stand where the trace says: the centre and the stride give the pixels that they see."""
    attention = kg.DrawAttention(3, dtype="float64", kernel_initializer="zeros")
    ramp = np.broadcast_to(np.stack(np.meshgrid(np.arange(21.0), np.arange(15.0)), -1), (1, 15, 21, 2))
    query = np.zeros((1, 2))
    attention.build(query.shape, ramp.shape)
    attention.bias.assign([0.1, -0.2, np.log(0.3), np.log(0.25), 0.0])
    attention.attend_to(ramp)
    seen, _, reported = attention.advance(query, [])
    stands = np.asarray(seen).reshape(3, 3, 2)
    np.testing.assert_allclose(stands[1, 1], reported["center"][0], atol=1e-2)
    np.testing.assert_allclose(np.diff(stands[1, :, 0]), reported["stride"][0, 0], atol=2e-2)
    np.testing.assert_allclose(np.diff(stands[:, 1, 1]), reported["stride"][0, 0], atol=2e-2)


def test_draw_is_finite_far_outside_the_picture_and_at_any_scale():
    attention = alone(kg.DrawAttention(4), queries()[0], PICTURES)
    for scale in (1e4, -1e4):
        seen, _, reported = attention.advance(scale * queries()[0], [])
        assert all(np.isfinite(x).all() for x in (seen, *reported.values()))


def canvas_layer(dtype="float64", patch=3, rnn=None):
    cell = kg.CanvasCell(kg.GRUCell(5, dtype=dtype), (7, 6, 1), patch=patch)
    layer = (rnn or kg.RNN)(cell, return_sequences=True, return_state=True, dtype=dtype)
    layer.build((3, 5, 4))
    rng = np.random.default_rng(7)
    layer.set_weights([rng.normal(size=w.shape, scale=0.5) for w in layer.get_weights()])
    return layer


def test_canvas_adds_what_the_transcription_writes():
    layer = canvas_layer()
    cell = layer.cell
    outputs, h, canvas = layer(HEARD.astype("float64"))
    said = keras.layers.RNN(cell.cell, return_sequences=True, dtype="float64")(HEARD.astype("float64"))
    numbers = np.array(said) @ cell.write_kernel.numpy() + cell.write_bias.numpy()
    strokes = [[oracles.grid_write(n[5:].reshape(3, 3), n[:5], 7, 6).ravel() for n in row] for row in numbers]
    np.testing.assert_allclose(outputs, np.cumsum(strokes, axis=1), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(canvas, outputs[:, -1])
    np.testing.assert_array_equal(h, said[:, -1])


def test_canvas_without_a_patch_is_written_whole():
    layer = canvas_layer(patch=None)
    said = keras.layers.RNN(layer.cell.cell, return_sequences=True, dtype="float64")(HEARD.astype("float64"))
    strokes = np.array(said) @ layer.cell.write_kernel.numpy() + layer.cell.write_bias.numpy()
    np.testing.assert_allclose(layer(HEARD.astype("float64"))[0], np.cumsum(strokes, axis=1), rtol=1e-8)


@pytest.mark.parametrize("patch", [3, None])
def test_canvas_is_a_cell_like_any_other(patch, tmp_path):
    """In Keras' own layer, saved, traced, exported, and in steps."""
    layer = canvas_layer("float32", patch)
    stock = canvas_layer("float32", patch, keras.layers.RNN)
    np.testing.assert_allclose(stock(HEARD)[0], layer(HEARD)[0], rtol=1e-5, atol=1e-5)
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layer(inputs)[0])
    check_saved_traced_and_exported(model, {"inputs": HEARD}, tmp_path)
    shown = kg.trace(model, HEARD)[layer.name]
    np.testing.assert_allclose(shown["canvas"], model(HEARD), rtol=1e-4, atol=1e-5)
    assert ("center" in shown) == (patch is not None)


# ------------------------------------------------------------------------------------------------- the retina


def test_retina_sees_what_the_transcription_sees():
    attention = kg.RetinaAttention(3, 3, dtype="float64")
    attention.build((None, 5), PICTURES.shape)
    attention.attend_to(PICTURES.astype("float64"))
    for place in ([0.0, 0.0], [-1.0, 1.0], [0.37, -0.81], [1.6, -1.4], [30.0, 0.0]):
        seen = attention.patches(np.array([place] * 3))
        expected = [
            np.concatenate(
                [
                    np.stack([oracles.retina(picture[..., c], place, 3, 3)[scale] for c in range(2)], -1)
                    for scale in range(3)
                ],
                -1,
            )
            for picture in PICTURES.astype("float64")
        ]
        np.testing.assert_allclose(seen, expected, rtol=1e-10, atol=1e-12)


def test_retina_looks_at_the_mean_and_draws_around_it_in_training():
    count, stddev = 4000, 0.2
    query = np.repeat(queries()[0][:1], count, axis=0)
    attention = alone(
        kg.RetinaAttention(2, stddev=stddev, seed=3, dtype="float64"), query, PICTURES[:1].repeat(count, 0)
    )
    kernel, bias = attention.get_weights()[:2]
    numbers = queries()[0][0] @ kernel + bias
    mean = np.tanh(numbers[:2])
    seen, _, reported = attention.advance(query, [])
    np.testing.assert_allclose(reported["location"], np.tile(mean, (count, 1)))
    np.testing.assert_allclose(reported["baseline"], np.full((count, 1), numbers[2]))
    np.testing.assert_allclose(seen[:, -2:], reported["location"])
    seen, _, reported = attention.advance(query, [], training=True)
    location = np.array(reported["location"])
    assert np.all(np.abs(location.mean(0) - mean) < 5 * stddev / count**0.5)
    np.testing.assert_allclose(location.std(0), stddev, rtol=5 / (2 * count) ** 0.5)
    np.testing.assert_allclose(seen[:, -2:], location)
    log_prob = norm(mean, stddev).logpdf(location).sum(-1, keepdims=True)
    np.testing.assert_allclose(reported["log_prob"], log_prob)


def test_only_the_log_density_moves_the_mean_and_the_baseline_moves_no_query():
    query = tf.constant(queries()[0])
    attention = alone(kg.RetinaAttention(2, seed=3, dtype="float64"), query, PICTURES)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(query)
        seen, _, reported = attention.advance(query, [], training=True)
    assert tape.gradient(seen, attention.kernel) is None
    slope = tape.gradient(reported["log_prob"], attention.bias)
    mean, location = np.array(reported["mean"]), np.array(reported["location"])
    expected = np.sum((location - mean) / attention.stddev**2 * (1 - mean**2), axis=0)
    np.testing.assert_allclose(slope, [*expected, 0])
    assert tape.gradient(reported["baseline"], query) is None
    assert tape.gradient(reported["log_prob"], query) is not None


def glimpse_model():
    glances = keras.Input((None, 1)), keras.Input((9, 8, 2))
    features = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(6, "relu")])
    cell = kg.GlimpseCell(kg.LSTMCell(5), kg.RetinaAttention(3, 2, features=features, seed=1))
    seen = kg.AttentionRNN(cell, return_sequences=True, name="glances")(glances[0], memory=glances[1])
    logits = keras.layers.Dense(4, name="digit")(seen[:, -1, :-2])
    policy = kg.JoinSteps(name="policy")([seen[..., -2:], logits])
    return keras.Model(glances, {"digit": logits, "policy": policy})


def test_glimpse_cell_says_what_reinforce_needs_and_trains(tmp_path):
    model = glimpse_model()
    given = [np.zeros((3, 4, 1), "float32"), PICTURES]
    shown = kg.trace(model, given)["glances"]
    policy = np.array(model(given)["policy"])
    np.testing.assert_allclose(policy[..., 0], shown["log_prob"][..., 0], rtol=1e-5)
    np.testing.assert_allclose(policy[..., 1], shown["baseline"][..., 0], atol=1e-6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", {"digit": loss, "policy": kg.ReinforceLoss()})
    before = model.get_layer("glances").cell.attention.bias.numpy()
    label = np.array([0, 1, 2])
    model.fit(given, {"digit": label, "policy": label}, verbose=0)
    after = model.get_layer("glances").cell.attention.bias.numpy()
    assert np.all(np.isfinite(after)) and np.all(before != after)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(given)["policy"], model(given)["policy"])
    assert again.evaluate(given, {"digit": label, "policy": label}, verbose=0) == model.evaluate(
        given, {"digit": label, "policy": label}, verbose=0
    )


def test_reinforce_is_its_formula_and_trains_nothing_else():
    rng = np.random.default_rng(8)
    said = tf.constant(rng.normal(size=(6, 4, 2 + 3)))
    label = rng.integers(0, 3, 6)
    reward = (np.array(said)[:, -1, 2:].argmax(-1) == label)[:, None]
    assert 0 < reward.sum() < 6
    log_prob, baseline = np.array(said)[..., 0], np.array(said)[..., 1]
    loss = kg.ReinforceLoss(reduction="sum", dtype="float64")
    with tf.GradientTape() as tape:
        tape.watch(said)
        found = loss(label, said)
    np.testing.assert_allclose(
        found, np.sum(-log_prob * (reward - baseline) + (reward - baseline) ** 2), rtol=1e-10
    )
    slope = np.array(tape.gradient(found, said))
    np.testing.assert_allclose(slope[..., 0], baseline - reward)
    np.testing.assert_allclose(slope[..., 1], 2 * (baseline - reward))
    np.testing.assert_array_equal(slope[..., 2:], 0)


# ------------------------------------------------------------------------------------- parts like all others


def check_saved_traced_and_exported(model, inputs, folder):
    """The outputs are the same bit for bit when it is loaded, and close in TensorFlow alone and in steps."""
    given = list(inputs.values()) if len(inputs) > 1 else next(iter(inputs.values()))
    expected = model.predict(given, verbose=0)
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_array_equal(again.predict(given, verbose=0), expected)
    kg.export(model, folder / "exported", ["trace"])
    served = tf.saved_model.load(str(folder / "exported"))
    tensors = {name: tf.constant(x) for name, x in inputs.items()}
    outputs = served.signatures["serving_default"](**tensors)["outputs"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    shown = served.signatures["trace"](**tensors)
    (layer,) = kg.trace(model, given).items()
    for name, values in layer[1].items():
        np.testing.assert_allclose(shown[f"{layer[0]}_{name}"], values, rtol=1e-4, atol=1e-5)
    over, *others = tensors
    opened = Opened(model, over)
    context = opened.context({name: tensors[name] for name in others})
    states = opened.initial_states(context, batch_size=3)
    for t in range(HEARD.shape[1]):
        outputs, states = opened.step({over: tensors[over][:, t]}, states, context)
        np.testing.assert_allclose(outputs["outputs"], expected[:, t], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind, cell", list(zip(ATTENTIONS, itertools.cycle(CELLS), strict=False)))
def test_saves_loads_and_exports(kind, cell, tmp_path):
    model = model_of(kind, cell)
    check_saved_traced_and_exported(model, {"heard": HEARD, "memory": ATTENTIONS[kind][1]}, tmp_path)


@each_attention
def test_any_attention_fits_any_cell_in_any_dtype(kind):
    given = [HEARD, ATTENTIONS[kind][1]]
    residual = kg.ResidualCell(kg.SimpleRNNCell(5), project=True)
    wrapped = keras.layers.LSTMCell(5), keras.layers.GRUCell(5), residual
    for cell, inside in zip(CELLS, wrapped, strict=True):
        assert np.isfinite(model_of(kind, cell, inside=inside)(given)).all()
    expected = np.array(model_of(kind, "luong")(given))
    for dtype in ("float64", "mixed_bfloat16", "mixed_float16"):
        found = model_of(kind, "luong", dtype)(given)
        assert keras.backend.standardize_dtype(found.dtype) == dtype.removeprefix("mixed_")
        assert np.isfinite(np.array(found, "float32")).all()
        if dtype == "float64":
            np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "use, error, sentence",
    [
        (lambda: kg.SoftWindow(0), ValueError, "`components` must be a positive integer; got 0"),
        (lambda: kg.SoftWindow(2, stride=0), ValueError, "`stride` must be a number greater than 0; got 0"),
        (
            lambda: kg.SoftWindow(2).advance(queries()[0], [np.zeros((3, 2))]),
            ValueError,
            "SoftWindow has no m",
        ),
        (lambda: kg.SoftWindow(2).look(queries()[0]), NotImplementedError, "see `advance`"),
        (lambda: kg.DrawAttention(0), ValueError, "`patch` must be a positive integer; got 0"),
        (lambda: alone(kg.DrawAttention(2), queries()[0], TEXT), ValueError, r"pictures, .*\(3, 7, 6\)"),
        (
            lambda: alone(kg.DrawAttention(2), queries()[0], PICTURES, THERE),
            ValueError,
            "takes no memory mask",
        ),
        (lambda: kg.RetinaAttention(3, 0), ValueError, "`scales` must be a positive integer; got 0"),
        (lambda: kg.RetinaAttention(3, stddev=-1), ValueError, "`stddev` must be .* greater than 0; got -1"),
        (lambda: kg.RetinaAttention(3, features="dense"), TypeError, "`features` must be a Keras .*'dense'"),
        (
            lambda: kg.GlimpseCell(kg.GRUCell(2), kg.SoftWindow(2)),
            TypeError,
            "must be a RetinaAttention; got",
        ),
        (
            lambda: kg.CanvasCell(kg.GRUCell(2), (3, 3)),
            ValueError,
            r"\(height, width, channels\); got \(3, 3\)",
        ),
        (lambda: kg.AffineAttention(3), ValueError, r"`size` must be \(height, width\); got 3"),
        (
            lambda: kg.AffineAttention((3, 3), transform="rotation"),
            ValueError,
            "`transform` must be .*'rotation'",
        ),
        (
            lambda: kg.AttentionRNN(kg.GravesCell(kg.GRUCell(5), kg.SoftWindow(2), seen_size=4))(
                HEARD, memory=TEXT
            ),
            ValueError,
            "`seen_size` of GravesCell must be 6, .*; got 4",
        ),
    ],
)
def test_says_what_is_wrong(use, error, sentence):
    with pytest.raises(error, match=sentence):
        use()
