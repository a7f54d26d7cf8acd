"""A layer applied to every step: what it gives is what the layer gives for each step by itself."""

import keras
import numpy as np
import pytest

import keras_gates as kg
from keras_gates.opened import Opened

x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
films = np.random.default_rng(1).integers(0, 256, (2, 3, 6, 5, 3), dtype="uint8")


def looking():
    pictures = keras.Input((None, None, 3), dtype="uint8")
    features = keras.layers.Conv2D(4, 3)(keras.ops.cast(pictures, "float32") / 255)
    return keras.Model(
        pictures, keras.layers.GlobalMaxPooling2D()(keras.layers.BatchNormalization()(features))
    )


def test_every_step_is_what_the_layer_gives_for_it():
    each = kg.EachStep(keras.layers.Dense(2, activation="tanh"))
    whole = np.array(each(x))
    for t in range(x.shape[1]):
        np.testing.assert_allclose(whole[:, t], np.array(each.layer(x[:, t])), atol=1e-6)


def test_batch_normalisation_takes_all_steps_as_one_batch():
    each = kg.EachStep(keras.layers.BatchNormalization())
    normal = np.array(each(x, training=True)).reshape(-1, 4)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=0), 1, atol=1e-2)


def test_a_model_of_films_of_any_size_is_saved_and_runs_in_steps(tmp_path):
    frames = keras.Input((None, None, None, 3), dtype="uint8")
    model = keras.Model(frames, kg.GRU(3, return_sequences=True)(kg.EachStep(looking())(frames)))
    assert model.output_shape == (None, None, 3)
    whole = np.array(model(films))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.array(keras.saving.load_model(tmp_path / "model.keras")(films)), whole)
    kg.export(model, tmp_path / "saved")
    stream = kg.load(tmp_path / "saved").stream(batch_size=2)
    steps = [np.array(stream.push(films[:, t])) for t in range(films.shape[1])]
    np.testing.assert_allclose(np.stack(steps, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize(
    "inner",
    [keras.layers.GlobalMaxPooling1D, kg.MeanPooling, lambda: kg.GRU(3), lambda: keras.layers.LSTM(3)],
)
def test_what_runs_inside_of_a_step_has_no_part_in_the_steps_of_the_model(inner):
    letters = keras.Input((None, 4))
    reading = keras.Model(letters, keras.layers.Dense(3)(inner()(letters)))
    words = keras.Input((None, None, 4))
    model = keras.Model(words, kg.LSTM(2, return_sequences=True)(kg.EachStep(reading)(words)))
    given = np.random.default_rng(2).normal(size=(2, 3, 5, 4)).astype("float32")
    opened = Opened(model, over="inputs")
    states = opened.initial_states(batch_size=2)
    steps = []
    for t in range(3):
        outputs, states = opened.step({"inputs": given[:, t]}, states)
        steps.append(np.array(outputs["outputs"]))
    np.testing.assert_allclose(np.stack(steps, axis=1), np.array(model(given)), atol=1e-5)
    assert all(name.startswith("lstm") for name in states)


def test_a_mask_is_passed_on():
    words = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(words)
    model = keras.Model(words, kg.LSTM(2)(kg.EachStep(keras.layers.Dense(4))(embedded)))
    np.testing.assert_allclose(
        np.array(model(np.array([[3, 4, 0, 0]]))), np.array(model(np.array([[3, 4]]))), atol=1e-6
    )


def test_what_is_no_sequence_is_said():
    with pytest.raises(ValueError, match=r"EachStep expects a sequence, .* got an input of shape \(3,\)"):
        kg.EachStep(keras.layers.Dense(2))(x[:, 0, 0])
