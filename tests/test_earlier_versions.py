"""Models that an earlier version saved as `.keras`, with what they gave there.

`tests/saved` was written by version 0.1.0 as it was before its modules moved into rooms: every layer by name,
stacks, wrappers, attention and poolings, with random weights.
"""

import pathlib

import keras
import numpy as np
import pytest

import experiments.common.recurrent
import experiments.common.words  # noqa: F401
import keras_gates  # noqa: F401

SAVED = pathlib.Path(__file__).parent / "saved"


def test_a_model_of_every_layer_loads_and_gives_the_same():
    model = keras.saving.load_model(SAVED / "every_layer.keras")
    with np.load(SAVED / "every_layer.npz") as kept:
        outputs = model([kept["x"], kept["memory"]])
        for k, output in enumerate(outputs):
            # equal to the last bit on the processor that wrote them; elsewhere sums have another order
            np.testing.assert_allclose(output, kept[f"output_{k}"], rtol=0, atol=2e-6)


def test_a_model_of_texts_loads_and_gives_the_same():
    pytest.importorskip("tensorflow")
    model = keras.saving.load_model(SAVED / "text.keras")
    texts = keras.ops.convert_to_tensor(["a film to remember", "not a good film <br/> at all!"])
    with np.load(SAVED / "text.npz") as kept:
        np.testing.assert_allclose(model(texts), kept["output"], rtol=0, atol=2e-6)
