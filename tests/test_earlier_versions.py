"""Models that an earlier version saved as `.keras`, with what they gave there.

`tests/saved` was written by version 0.1.0 as it was before its modules moved into rooms: every layer by name,
stacks, wrappers, attention (also in stacks and wrappers) and poolings, a reader of texts and a tagger, with
random weights. Nothing but `keras_gates` is imported to load them.
"""

import pathlib

import keras
import numpy as np
import pytest

import keras_gates as kg

SAVED = pathlib.Path(__file__).parent / "saved"
# Equal to the last bit on the processor that wrote them; elsewhere sums have another order.
ATOL = 2e-6


def load(name):
    return keras.saving.load_model(SAVED / f"{name}.keras")


def test_a_model_of_every_layer_loads_and_gives_the_same():
    model = load("every_layer")
    with np.load(SAVED / "every_layer.npz") as kept:
        outputs = model([kept["x"], kept["memory"]])
        for k, output in enumerate(outputs):
            np.testing.assert_allclose(output, kept[f"output_{k}"], rtol=0, atol=ATOL)


def assert_attention_gives_the_same(model):
    with np.load(SAVED / "attention.npz") as kept:
        outputs = model([kept["x"], kept["words"]])
        for k, output in enumerate(outputs):
            np.testing.assert_allclose(output, kept[f"output_{k}"], rtol=0, atol=ATOL)


def test_attention_in_stacks_and_wrappers_loads_and_gives_the_same():
    assert_attention_gives_the_same(load("attention"))


def test_what_was_loaded_is_of_today_and_saves_and_loads_again(tmp_path):
    model = load("attention")
    stack, mixed, luong = (layer for layer in model.layers if isinstance(layer, kg.AttentionRNN))
    assert type(stack.cell.cells[1]) is kg.BahdanauCell
    assert type(stack.cell.cells[1].attention) is kg.AdditiveAttention
    assert type(mixed.cell.cells[1].cell) is type(luong.cell) is kg.LuongCell
    model.save(tmp_path / "model.keras")
    assert_attention_gives_the_same(keras.saving.load_model(tmp_path / "model.keras"))


def test_a_model_of_texts_loads_and_gives_the_same():
    pytest.importorskip("tensorflow")
    model = load("text")
    texts = keras.ops.convert_to_tensor(["a film to remember", "not a good film <br/> at all!"])
    with np.load(SAVED / "text.npz") as kept:
        np.testing.assert_allclose(model(texts), kept["output"], rtol=0, atol=ATOL)


def test_a_tagger_of_words_loads_and_gives_the_same():
    pytest.importorskip("tensorflow")
    answer = load("tags")(keras.ops.convert_to_tensor([["a", "good", "film"], ["bad", "film", ""]]))
    with np.load(SAVED / "tags.npz") as kept:
        np.testing.assert_array_equal(answer["tags"].numpy().astype("U"), kept["tags"])
        np.testing.assert_allclose(answer["probabilities"], kept["probabilities"], rtol=0, atol=ATOL)
