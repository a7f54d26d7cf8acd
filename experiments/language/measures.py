"""How well a network foretells a text."""

import math

import keras
import numpy as np

from experiments.language.cache import Cache, mixed, tuned
from experiments.language.network import reset_states
from experiments.language.tokens import UNKNOWN

# tokens: a longer test text is read in several rows side by side, each from a state of zero
ROW = 50_000
STEPS = 1000  # tokens of a row in a batch; the state is carried


def measure(network, ids, widths, cache=None):
    """The measures of a text: loss in nats, perplexity and accuracy of its tokens, bits per character.

    ids: the numbers of its tokens.
    widths: how many characters each token has.
    cache: the `Settings` of a cache; with one, the loss that it leaves is measured too.

    Of an unknown token it counts that it is unknown, and not which one: see the share of these.
    """
    rows = max(1, (len(ids) - 1) // ROW)
    widths = _rows(widths[1:], rows)
    nats, right, unknown, left = 0.0, 0, 0, 0.0
    known = Cache(cache.size) if cache else None
    for own, hit, states, targets in _read(network, ids, rows):
        nats -= float(np.log(own).sum())
        right += int(hit.sum())
        unknown += int((targets == UNKNOWN).sum())
        if cache:
            (cached,) = known.probability(states, targets, [cache.sharpness])
            left -= float(np.log(mixed(own, cached, cache.share)).sum())
    loss = nats / widths.size
    measures = {
        "test_loss": loss,
        "test_bits_per_character": nats / math.log(2) / int(widths.sum()),
        "test_perplexity": math.exp(loss),
        "test_accuracy": right / widths.size,
        "test_unknown": unknown / widths.size,
        "test_rows": rows,
    }
    if cache:
        measures |= {"test_loss_with_cache": left / widths.size, "cache": cache._asdict()}
    return measures


def tuned_cache(network, ids, size):
    """The settings of a cache of that size with which a text is foretold best."""
    rows = max(1, (len(ids) - 1) // ROW)
    return tuned(((own, states, targets) for own, _, states, targets in _read(network, ids, rows)), size)


def _rows(ids, rows):
    length = len(ids) // rows
    return ids[: rows * length].reshape(rows, length)


def _read(network, ids, rows):
    """Piece by piece of the rows of a text: the probability of what came, in double precision; whether it was
    the most probable; the outputs of the last recurrent layer; what came."""
    inputs, targets = _rows(ids[:-1], rows), _rows(ids[1:], rows)
    model = network.carrying(rows)
    both = keras.Model(model.input, [model.output, network.last_layer(model).output])
    reset_states(model)
    for start in range(0, inputs.shape[1], STEPS):
        chunk = slice(start, start + STEPS)
        logits, states = both.predict_on_batch(inputs[:, chunk])
        wanted = targets[:, chunk]
        logits = logits - logits.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(logits, wanted[..., None], axis=-1)[..., 0].astype("float64")
        own = np.exp(chosen - np.log(np.exp(logits).sum(axis=-1)))
        yield own, logits.argmax(axis=-1) == wanted, states, wanted
