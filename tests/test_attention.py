"""Attention: where a cell looks, what a mask hides from it, and that it learns where to look."""

import itertools

import keras
import numpy as np
import pytest

import keras_gates as kg
from experiments.reversal.data import draw
from experiments.reversal.network import train
from keras_gates.attention import ATTENTIONS

SCORES = ("additive", "dot", "general")
BOTH = {"bahdanau": kg.BahdanauCell, "luong": kg.LuongCell}
x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
memory = np.random.default_rng(1).normal(size=(3, 7, 6)).astype("float32")
there = np.arange(7) < np.array([[7], [4], [0]])


def layer_of(score, **arguments):
    keras.utils.set_random_seed(1)
    return kg.AttentionRNN(cell_of(score, kg.GRUCell(6), **arguments), return_sequences=True)


def cell_of(score, inside, **arguments):
    """The cell of the paper that has this score."""
    cell = kg.BahdanauCell if score == "additive" else kg.LuongCell
    return cell(inside, ATTENTIONS[score](**arguments))


def pairs():
    """Every score in both cells: when a cell looks does not depend on how it scores."""
    return list(itertools.product(SCORES, BOTH.values()))


def alignments_of(layer, x, memory, memory_mask=None):
    inputs = [keras.Input((None, 4)), keras.Input((None, 6)), keras.Input((None,), dtype="bool")]
    outputs = layer(inputs[0], memory=inputs[1], memory_mask=inputs[2])
    given = [x, memory, np.ones(memory.shape[:2], bool) if memory_mask is None else memory_mask]
    return kg.trace(keras.Model(inputs, outputs), given)[layer.name]["alignment"]


def test_bahdanau_gives_what_was_seen_beside_its_output(tmp_path):
    """For the paper's deep output. It keeps nothing from step to step, so the states are as without."""
    inputs, models = (keras.Input((None, 4)), keras.Input((None, 6))), []
    for output_seen in (False, True):
        cell = kg.BahdanauCell(kg.GRUCell(6), output_seen=output_seen)
        layer = kg.AttentionRNN(cell, return_sequences=True, return_state=True, name="decoder")
        models.append(keras.Model(inputs, layer(inputs[0], memory=inputs[1])))
    assert models[1].output_shape == [(None, None, 12), (None, 6)]
    models[1].set_weights(models[0].get_weights())
    models[1].save(tmp_path / "model.keras")
    outputs, state = models[0]([x, memory])
    seen = kg.trace(models[0], [x, memory])["decoder"]["alignment"] @ memory
    given, last = keras.saving.load_model(tmp_path / "model.keras")([x, memory])
    np.testing.assert_allclose(given, np.concatenate([outputs, seen], axis=-1), atol=1e-6)
    np.testing.assert_array_equal(last, state)


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
    alignments = alignments_of(layer, x, memory, there)
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
    soft, hard = (alignments_of(layer, x[:, :1], memory) for layer in (soft, hard))
    np.testing.assert_array_equal(hard, np.eye(7)[soft.argmax(-1)])


def test_hard_draws_from_the_alignment_in_training():
    layer = layer_of("general", hard=True, seed=3)
    copies = 4000
    layer(x, memory=memory)
    attention, query = layer.cell.attention, x[:1, 0] @ np.ones((4, 6), "float32")
    attention.attend_to(np.repeat(memory[:1], copies, axis=0))
    drawn = np.array(attention.look(np.repeat(query, copies, axis=0), training=True)[1])
    attention.hard = False
    attention.attend_to(memory[:1])
    alpha = np.array(attention.look(query)[1])[0]
    np.testing.assert_array_equal(np.sort(drawn, -1)[:, -1].round(6), 1)
    np.testing.assert_allclose(drawn.mean(0), alpha, atol=4 * 0.5 / copies**0.5)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("score", SCORES)
def test_model_saves_and_loads(score, hard, tmp_path):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, 4)), keras.Input((None,), dtype="int32")
    seen = keras.layers.Embedding(9, 6, mask_zero=True)(inputs[1])
    cell = cell_of(score, kg.LSTMCell(6, learn_initial_state=True), hard=hard)
    outputs = kg.AttentionRNN([kg.SimpleRNNCell(5), kg.ResidualCell(cell, project=True)])(
        inputs[0], memory=seen
    )
    model = keras.Model(inputs, outputs)
    given = [x, np.where(there, 1 + np.arange(7), 0)]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(given, verbose=0), model.predict(given, verbose=0))


@pytest.mark.parametrize("kind", BOTH.values(), ids=BOTH)
def test_dropout_masks_fit_what_the_cell_inside_hears(kind):
    layer = kg.AttentionRNN(kind(kg.GRUCell(6, dropout=0.5, recurrent_dropout=0.5, seed=1)))
    first, second = layer(x, memory=memory, training=True), layer(x, memory=memory, training=True)
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    "use, sentence",
    [
        (lambda: kg.LuongCell(kg.GRUCell(6), "cosine"), r"`attention` must be one of .*'cosine'"),
        (lambda: kg.BahdanauCell(kg.GRUCell(6), ["dot"]), r"`attention` must be one of .*\['dot'\]"),
        (lambda: kg.AttentionRNN(kg.GRUCell(6)), "must have an AttentionCell inside"),
        (lambda: keras.layers.RNN(kg.BahdanauCell(kg.GRUCell(6)))(x), "no memory to look at"),
        (lambda: layer_of("additive")(x), "needs a memory"),
        (lambda: kg.DotAttention().look(x[:, 0]), "DotAttention has no memory to look at"),
        (lambda: layer_of("dot")(x, memory=memory[..., :2]), "one width; got 2 and 6"),
    ],
)
def test_says_what_is_wrong(use, sentence):
    with pytest.raises(ValueError, match=sentence):
        use()


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_pooling_and_attention_in_other_dtypes(dtype):
    cells = [kind(kg.GRUCell(6, dtype=dtype), ATTENTIONS[score](hard=True)) for score, kind in pairs()]
    for y in (
        *(kg.AttentionRNN(cell, dtype=dtype)(x, memory=memory, memory_mask=there) for cell in cells),
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
    reverser, batch = train(hard=hard, steps=200), draw(500, seed=0)
    assert reverser.accuracy(batch) >= 0.99
    assert reverser.mirrored(batch) >= 0.95


@pytest.mark.parametrize("score, kind", pairs())
def test_any_attention_fits_any_cell(score, kind, tmp_path):
    """By its name or as an object, with a memory of the width of the query."""
    inputs = keras.Input((None, 4)), keras.Input((None, 6))
    layer = kg.AttentionRNN(kind(kg.GRUCell(6), score), return_sequences=True)
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    assert type(layer.cell.attention) is ATTENTIONS[score]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again([x, memory]), model([x, memory]))
    twin = kg.AttentionRNN(kind(kg.GRUCell(6), ATTENTIONS[score]()), return_sequences=True)
    twin(x, memory=memory)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(x, memory=memory), model([x, memory]))


def test_a_layer_forgets_the_memory_even_when_a_call_fails():
    layer = layer_of("general")
    layer(x, memory=memory)
    assert layer.cell.attention.memory is None
    with pytest.raises(ValueError, match="must have the shape"):
        layer(x, memory=memory, initial_state=[np.ones((3, 5)), np.ones((3, 6))])
    assert layer.cell.attention.memory is None


class FirstPosition(kg.Attention):
    """Sees the first position, whatever it is asked."""

    def look(self, query, training=False):
        first = np.eye(self.memory.shape[1])[:1].astype("float32") + 0 * query[:, :1]
        return self.memory[:, 0], first


class LookingCell(kg.WrapperCell):
    """Adds what it sees to its input."""

    def __init__(self, cell, **kwargs):
        super().__init__(cell, **kwargs)
        self.attention = FirstPosition()

    def build(self, input_shape):
        self.attention.build(input_shape, self.attention.memory_shape)
        super().build(input_shape)

    def call_with_gates(self, inputs, states, training=False):
        seen, alignment = self.attention.look(states[0])
        output, states, gates = super().call_with_gates(inputs + seen, states, training)
        return output, states, {**gates, "alignment": alignment}


def test_a_cell_of_ones_own_with_an_attention_of_ones_own():
    """A cell needs an attribute `attention` and its step: it builds, runs and is traced."""
    layer = kg.AttentionRNN(LookingCell(kg.GRUCell(6)), return_sequences=True)
    plain = kg.RNN(layer.cell.cell, return_sequences=True)
    seen = memory[:, :, :4]
    inputs = keras.Input((None, 4)), keras.Input((None, 4))
    model = keras.Model(inputs, layer(inputs[0], memory=inputs[1]))
    np.testing.assert_allclose(model([x, seen]), plain(x + seen[:, :1]), atol=1e-6)
    alignment = kg.trace(model, [x, seen])[layer.name]["alignment"]
    np.testing.assert_array_equal(alignment, np.broadcast_to(np.eye(7)[0], (3, 5, 7)))
