"""Attention: where a cell looks, what a mask hides from it, and that it learns where to look."""

import keras
import numpy as np
import pytest

import keras_gates as kg
from experiments.reversal import __main__ as reversal

SCORES = ("additive", "dot", "general")
x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
memory = np.random.default_rng(1).normal(size=(3, 7, 6)).astype("float32")
there = np.arange(7) < np.array([[7], [4], [0]])


def layer_of(score, **arguments):
    keras.utils.set_random_seed(1)
    cell = kg.AttentionCell(kg.GRUCell(6), score=score, **arguments)
    return kg.AttentionRNN(cell, return_sequences=True)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("score", SCORES)
def test_masks_hide_padding_exactly(score, hard):
    layer = layer_of(score, hard=hard)
    dirty, garbage = memory.copy(), memory.copy()
    dirty[~there], garbage[~there] = 1e6, np.nan
    outputs = layer(x, memory=memory, memory_mask=there)
    np.testing.assert_array_equal(outputs, layer(x, memory=dirty, memory_mask=there))
    np.testing.assert_array_equal(outputs, layer(x, memory=garbage, memory_mask=there))
    np.testing.assert_allclose(outputs[1:2], layer(x[1:2], memory=memory[1:2, :4]), atol=1e-6)
    alignments = np.array(layer.alignments(x, memory, memory_mask=there))
    np.testing.assert_array_equal(alignments.transpose(0, 2, 1)[~there], 0)
    np.testing.assert_allclose(alignments.sum(-1), np.repeat([[1], [1], [0]], 5, 1), atol=1e-6)


def test_masks_are_taken_from_what_carries_them():
    layer = layer_of("general")
    words = np.where(there, 1 + np.arange(7), 0)
    masked = keras.layers.Masking(mask_value=9.0)(np.where(np.arange(5)[:, None] < 3, x, np.float32(9)))
    embedding = keras.layers.Embedding(8, 6, mask_zero=True)
    taken = layer(masked, memory=embedding(words))
    given = layer(
        np.array(masked),
        memory=np.array(embedding(words)),
        mask=np.arange(5) < np.full((3, 1), 3),
        memory_mask=there,
    )
    np.testing.assert_array_equal(taken, given)
    assert not np.allclose(taken, layer(np.array(masked), memory=np.array(embedding(words))))


@pytest.mark.parametrize("score", SCORES)
def test_hard_takes_the_most_probable_position(score):
    soft, hard = layer_of(score), layer_of(score, hard=True)
    soft(x[:, :1], memory=memory), hard(x[:, :1], memory=memory)
    hard.set_weights(soft.get_weights())
    soft, hard = (np.array(layer.alignments(x[:, :1], memory)) for layer in (soft, hard))
    np.testing.assert_array_equal(hard, np.eye(7)[soft.argmax(-1)])


def test_hard_draws_from_the_alignment_in_training():
    layer = layer_of("general", hard=True, seed=3)
    copies = 4000
    one = [np.repeat(part[:1], copies, axis=0) for part in (x[:, :1], memory)]
    drawn = np.array(layer.alignments(*one, training=True))[:, 0]
    layer.cell.hard = False
    alpha = np.array(layer.alignments(x[:1, :1], memory[:1]))[0, 0]
    np.testing.assert_array_equal(np.sort(drawn, -1)[:, -1].round(6), 1)
    np.testing.assert_allclose(drawn.mean(0), alpha, atol=4 * 0.5 / copies**0.5)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("score", SCORES)
def test_model_saves_and_loads(score, hard, tmp_path):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, 4)), keras.Input((None,), dtype="int32")
    seen = keras.layers.Embedding(9, 6, mask_zero=True)(inputs[1])
    cell = kg.AttentionCell(kg.LSTMCell(6, learn_initial_state=True), score=score, hard=hard)
    outputs = kg.AttentionRNN([kg.SimpleRNNCell(5), kg.ResidualCell(cell, project=True)])(
        inputs[0], memory=seen
    )
    model = keras.Model(inputs, outputs)
    given = [x, np.where(there, 1 + np.arange(7), 0)]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(given, verbose=0), model.predict(given, verbose=0))


def test_dropout_masks_fit_what_the_cell_inside_hears():
    cell = kg.AttentionCell(kg.GRUCell(6, dropout=0.5, recurrent_dropout=0.5, seed=1))
    layer = kg.AttentionRNN(cell)
    first, second = layer(x, memory=memory, training=True), layer(x, memory=memory, training=True)
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    "use, sentence",
    [
        (lambda: kg.AttentionCell(kg.GRUCell(6), score="cosine"), r"`score` must be one of .*'cosine'"),
        (lambda: kg.AttentionRNN(kg.GRUCell(6)), "must have an AttentionCell inside"),
        (lambda: keras.layers.RNN(kg.AttentionCell(kg.GRUCell(6)))(x), "no memory to look at"),
        (lambda: layer_of("additive")(x), "needs a memory"),
        (lambda: layer_of("dot")(x, memory=memory[..., :2]), "one width; got 2 and 6"),
    ],
)
def test_says_what_is_wrong(use, sentence):
    with pytest.raises(ValueError, match=sentence):
        use()


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_pooling_and_attention_in_other_dtypes(dtype):
    cell = kg.AttentionCell(kg.GRUCell(6, dtype=dtype), hard=True)
    for y in (
        kg.AttentionRNN(cell, dtype=dtype)(x, memory=memory, memory_mask=there),
        kg.AttentionPooling(dtype=dtype)(memory, mask=there),
    ):
        assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
        assert np.isfinite(np.array(y, "float32")).all()


def test_pooling_sees_nothing_of_the_padding():
    layer = kg.AttentionPooling(5, return_alignments=True)
    pooled, alpha = (np.array(part) for part in layer(memory, mask=there))
    np.testing.assert_array_equal(alpha[~there], 0)
    np.testing.assert_array_equal(pooled[2], 0)
    garbage = np.where(there[..., None], memory, np.nan)
    np.testing.assert_array_equal(pooled, layer(garbage, mask=there)[0])


def test_pooling_saves_loads_and_takes_the_mask_of_an_embedding(tmp_path):
    words = np.where(there, 1 + np.arange(7), 0)
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(8, 6, mask_zero=True),
            kg.AttentionPooling(),
        ]
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    y = again.predict(words, verbose=0)
    np.testing.assert_array_equal(y, model.predict(words, verbose=0))
    np.testing.assert_array_equal(y[2], 0)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_learns_to_reverse_by_looking_at_the_mirrored_position(hard):
    """A decoder that never looks gets one symbol in eight right."""
    reverser, batch = reversal.train(hard=hard, steps=200), reversal.draw(500, seed=0)
    assert reverser.accuracy(batch) >= 0.99
    assert reverser.mirrored(batch) >= 0.95
