"""How well a network foretells a text."""

import math

import numpy as np

from experiments.language.network import reset_states

# characters: a longer test text is read in several rows side by side, each from a state of zero
ROW = 50_000
STEPS = 1000  # characters of a row in a batch; the state is carried


def measure(network, ids):
    """The measures of a text of ids: loss in nats, bits per character, perplexity, accuracy."""
    rows = max(1, (len(ids) - 1) // ROW)
    length = (len(ids) - 1) // rows
    nats, right = _foretold(network.carrying(rows), _rows(ids[:-1], rows), _rows(ids[1:], rows))
    loss = nats / (rows * length)
    return {
        "test_loss": loss,
        "test_bits_per_character": loss / math.log(2),
        "test_perplexity": math.exp(loss),
        "test_accuracy": right / (rows * length),
        "test_rows": rows,
    }


def _rows(ids, rows):
    length = len(ids) // rows
    return ids[: rows * length].reshape(rows, length)


def _foretold(model, inputs, targets):
    """The sum of −log p of the targets, and how many of them were the most probable token."""
    reset_states(model)
    nats, right = 0.0, 0
    for start in range(0, inputs.shape[1], STEPS):
        chunk = slice(start, start + STEPS)
        logits, wanted = model.predict_on_batch(inputs[:, chunk]), targets[:, chunk]
        highest = logits.max(axis=-1)
        totals = highest + np.log(np.exp(logits - highest[..., None]).sum(axis=-1))
        chosen = np.take_along_axis(logits, wanted[..., None], axis=-1)[..., 0]
        nats += float((totals - chosen).sum(dtype="float64"))
        right += int((logits.argmax(axis=-1) == wanted).sum())
    return nats, right
