"""A continuous cache: what followed where the network was in a like state before is likely to follow again.

Grave, Joulin & Usunier 2017, "Improving neural language models with a continuous cache". It needs no training
and finds again what the text itself has brought up, such as the names of its speakers:

    p(w | t) = (1 − λ) p_network(w | t) + λ p_cache(w | t)
    p_cache(w | t) ∝ Σ_{i=t−size}^{t−1} exp(θ cos(h_t, h_i)) [w followed i]

h is the output of the last recurrent layer. The paper takes the product h_t·h_i; the cosine lets one θ serve
nets of any size.
"""

from typing import NamedTuple

import numpy as np

SHARPNESS = 10.0, 15.0, 20.0, 30.0, 40.0  # θ among which `tuned` chooses
SHARES = 0.05, 0.1, 0.2, 0.3, 0.4  # λ likewise


class Settings(NamedTuple):
    """How many of the last steps the cache knows, θ and λ."""

    size: int
    sharpness: float
    share: float


class Cache:
    """The last steps of each row of a text that is read in pieces.

    size: steps of a row that are known at most.
    """

    def __init__(self, size):
        self.size = size
        self.keys, self.followed = None, None

    def probability(self, states, targets, sharpness):
        """p_cache of the targets, for each θ: shape (len(sharpness), rows, time); zero of an empty cache.

        states: outputs (rows, time, units) of the next steps of each row; the cache knows them afterwards.
        targets: what followed each, (rows, time).
        """
        keys = states / np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-9)
        first = 0 if self.keys is None else self.keys.shape[1]
        if first:
            known, followed = np.hstack([self.keys, keys]), np.hstack([self.followed, targets])
        else:
            known, followed = keys, targets
        given = np.stack(
            [
                _of_row(*row, first, self.size, sharpness)
                for row in zip(keys, targets, known, followed, strict=True)
            ],
            axis=1,
        )
        self.keys, self.followed = known[:, -self.size :], followed[:, -self.size :]
        return given


def _of_row(keys, targets, known, followed, first, size, sharpness):
    """`Cache.probability` of one row, whose own steps begin with number `first` of those that are known."""
    now, then = first + np.arange(len(keys))[:, None], np.arange(len(known))
    open_to = (then < now) & (then >= now - size)
    right = open_to & (followed == targets[:, None])
    cosines = keys @ known.T
    given = []
    for theta in sharpness:
        weights = np.exp(theta * (cosines - 1))
        total = np.sum(weights, axis=1, where=open_to)
        given.append(np.sum(weights, axis=1, where=right) / np.maximum(total, 1e-30))
    return np.array(given)


def mixed(own, cached, share):
    """The probabilities of what came, from those of the network and of the cache."""
    return (1 - share) * own + share * cached


def tuned(pieces, size):
    """The settings with which a text is foretold best.

    pieces: of a text in rows, one after the other, the network's probability of what came (rows, time), the
        states (rows, time, units) and what came (rows, time).
    """
    cache, nats = Cache(size), np.zeros((len(SHARPNESS), len(SHARES)))
    for own, states, targets in pieces:
        cached = cache.probability(states, targets, SHARPNESS)
        for number, share in enumerate(SHARES):
            nats[:, number] -= np.log(mixed(own, cached, share)).sum(axis=(1, 2))
    sharpest, largest = np.unravel_index(nats.argmin(), nats.shape)
    return Settings(size, SHARPNESS[sharpest], SHARES[largest])
