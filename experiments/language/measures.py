"""How well a network foretells a text."""

import math

import numpy as np

from experiments.language.network import reset_states
from experiments.language.tokens import UNKNOWN

# tokens: a longer test text is read in several rows side by side, each from a state of zero
ROW = 50_000
STEPS = 1000  # tokens of a row in a batch; the state is carried


def measure(network, ids, widths):
    """The measures of a text: loss in nats, perplexity and accuracy of its tokens, bits per character.

    ids: the numbers of its tokens.
    widths: how many characters each token has.

    Of an unknown token it counts that it is unknown, and not which one: see the share of these.
    """
    rows = max(1, (len(ids) - 1) // ROW)
    inputs, targets, widths = _rows(ids[:-1], rows), _rows(ids[1:], rows), _rows(widths[1:], rows)
    nats, right = _foretold(network.carrying(rows), inputs, targets)
    loss = nats / targets.size
    return {
        "test_loss": loss,
        "test_bits_per_character": nats / math.log(2) / int(widths.sum()),
        "test_perplexity": math.exp(loss),
        "test_accuracy": right / targets.size,
        "test_unknown": float((targets == UNKNOWN).mean()),
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
