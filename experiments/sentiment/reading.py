"""How a run of this task is read; `experiments.common.reading` says what for."""

import keras
import numpy as np

from experiments.common import words
from experiments.common.errors import InputError
from experiments.common.reading import Reading
from experiments.common.run_folder import check_labels
from experiments.sentiment import TASK


def read(model, config, texts):
    """Words, and after each of them how probable the last label is, had the text ended there."""
    check_labels(config, model.output_shape[-1])
    inputs = np.array(texts, object)
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.TextVectorization)]
    if not found:
        raise InputError("model.keras is not a model of this task: it has no layer that splits texts.")
    vectorizer = found[0]
    tokens = words.tokens(vectorizer, texts)
    if not all(tokens):
        raise InputError(f"There is no word in the text {texts[tokens.index([])]!r}.")
    ids = vectorizer(inputs).numpy()
    network = model.get_layer(TASK)
    so_far = []
    for row, read_words in zip(ids, tokens, strict=True):
        prefixes = np.tril(np.tile(row[: len(read_words)], (len(read_words), 1)))
        logits = network.predict(prefixes, batch_size=64, verbose=0)
        so_far.append(np.asarray(keras.ops.softmax(logits))[:, -1])
    return Reading(inputs, tokens, {f"{config['labels'][-1]} so far": so_far}, opens_on_swing=True)
