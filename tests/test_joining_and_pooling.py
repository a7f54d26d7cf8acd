"""Layers that join and pool sequences: what they give, what padding may not change, what they refuse."""

import keras
import numpy as np
import pytest

import keras_gates as kg

x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
context = np.random.default_rng(1).normal(size=(3, 2)).astype("float32")
there = np.arange(5) < np.array([[5], [2], [0]])


def test_a_vector_joins_every_step():
    joined = np.array(kg.JoinSteps()([x, context, x[..., :1]]))
    for t in range(5):
        np.testing.assert_array_equal(joined[:, t], np.concatenate([x[:, t], context, x[:, t, :1]], -1))


def test_steps_joined_have_the_mask_of_the_first(tmp_path):
    words, features, vector = keras.Input((None,), dtype="int32"), keras.Input((None, 4)), keras.Input((2,))
    embedded = keras.layers.Embedding(9, 3, mask_zero=True)(words)
    joined = kg.JoinSteps()([embedded, features, vector])
    assert joined.shape == (None, None, 9)
    model = keras.Model([words, features, vector], kg.GRU(4)(joined))
    given = [np.where(there, 1 + np.arange(5), 0), x, context]
    outputs = model(given)
    changed = np.where(there[..., None], x, 100).astype("float32")
    np.testing.assert_array_equal(model([given[0], changed, context]), outputs)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(given), outputs)


@pytest.mark.parametrize(
    "inputs", [[context, x], [x, x[..., None]], x], ids=["vector first", "rank 4", "one"]
)
def test_what_cannot_be_joined_is_said(inputs):
    with pytest.raises(ValueError, match=r"JoinSteps expects a list of a sequence, .* got inputs of shape"):
        kg.JoinSteps()(inputs)


POOLINGS = {kg.MeanPooling: np.mean, kg.SumPooling: np.sum, kg.MaxPooling: np.max}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("padding", [0.0, 1e6, np.nan])
def test_pooling_counts_the_steps_that_the_mask_lets_through(pooling, padding):
    padded = np.where(there[..., None], x, np.float32(padding))
    pooled = np.array(pooling()(padded, mask=there))
    for row, steps in enumerate((5, 2)):
        np.testing.assert_allclose(
            pooled[row], POOLINGS[pooling](x[row, :steps], axis=0), rtol=1e-6, atol=1e-6
        )
    np.testing.assert_array_equal(pooled[2], 0)
    np.testing.assert_allclose(pooling()(x), POOLINGS[pooling](x, axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pooling, expected", [(kg.MeanPooling, 0.5), (kg.SumPooling, 500)])
def test_many_steps_are_summed_in_float32_whatever_the_policy_is(pooling, expected):
    """In bfloat16, 256 + 1 is 256."""
    layer, mask = pooling(dtype="mixed_bfloat16"), np.ones((1, 1000), bool)
    values = np.repeat(np.float32([1, 0]), 500)[None, :, None]
    sequence = keras.ops.cast(np.tile(values, (1, 1, 2)), "bfloat16")
    carried = {}
    for t in range(1000):
        last, carried = layer.pool_step(sequence[:, t], carried, None)
    for pooled in (layer(sequence), layer(sequence, mask=mask), last):
        assert keras.backend.standardize_dtype(pooled.dtype) == "bfloat16"
        np.testing.assert_array_equal(keras.ops.cast(pooled, "float32"), np.full((1, 2), expected))


@pytest.mark.parametrize("pooling", [*POOLINGS, kg.AttentionPooling])
@pytest.mark.parametrize("padding", [0.0, np.nan])
def test_pooling_step_by_step_is_pooling_of_the_whole(pooling, padding):
    """After every step, as a text grows; a step that does not count changes nothing."""
    layer, holes = pooling(), np.roll(there, 1, axis=1)
    padded = np.where(holes[..., None], x, np.float32(padding))
    layer(padded, mask=holes)
    carried = {}
    for t in range(5):
        pooled, carried = layer.pool_step(padded[:, t], carried, holes[:, t])
        whole = layer(padded[:, : t + 1], mask=holes[:, : t + 1])
        np.testing.assert_allclose(pooled, whole, rtol=1e-5, atol=1e-6)
