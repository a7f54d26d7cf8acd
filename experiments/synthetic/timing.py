"""Intervals to be measured or kept, periodic functions, waves (Gers et al. 2002, Koutník et al. 2014)."""

import numpy as np

from experiments.synthetic.sequences import Sequences

FUNCTIONS = {  # of the phase, from 0 to 1
    "cosine": lambda phase: (1 - np.cos(2 * np.pi * phase)) / 2,
    "triangle": lambda phase: 1 - np.abs(1 - 2 * phase),
    "rectangle": lambda phase: (phase >= 0.5).astype(float),
}


def measured_intervals(rng, count, length, period, noise):
    """Spikes at equal intervals of `period` to 2 `period` - 1 steps, one interval in each sequence.

    At each spike but the first, the answer is how many steps the interval is longer than `period`. Each
    spike comes up to `noise` steps early or late; the answer is the interval without the noise.
    """
    intervals = rng.integers(period, 2 * period, count)
    starts = rng.integers(period, size=count)
    spikes = np.arange(length // period + 1)
    places = starts[:, None] + intervals[:, None] * spikes
    places = np.clip(places + rng.integers(-noise, noise + 1, places.shape), 0, None)
    inputs, weights = (np.zeros((count, length), "float32") for _ in range(2))
    rows = np.broadcast_to(np.arange(count)[:, None], places.shape)
    within = places < length
    inputs[rows[within], places[within]] = 1
    later = within & (spikes > 0)
    weights[rows[later], places[later]] = 1
    targets = np.broadcast_to((intervals - period)[:, None], (count, length)).astype("float32")
    return Sequences(inputs[..., None], targets[..., None] * weights[..., None], weights)


def generated_spikes(rng, count, length, period):
    """After one spike in the input, a spike is to be made every `period` steps."""
    return _after_a_start(rng, count, length, period, lambda t: (t > 0) & (t % period == 0))


def periodic(rng, count, length, period, function):
    """After one spike in the input, a periodic function is to be made."""
    shape = FUNCTIONS[function]
    return _after_a_start(rng, count, length, period, lambda t: shape(t % period / period))


def _after_a_start(rng, count, length, period, function):
    """A spike at a step below `period`, and from there on a function of the steps since; 0 before."""
    starts = rng.integers(period, size=count)
    since = np.arange(length) - starts[:, None]
    inputs = (since == 0).astype("float32")[..., None]
    targets = np.where(since >= 0, function(since), 0).astype("float32")[..., None]
    return Sequences(inputs, targets, np.ones(since.shape, "float32"))


def waves(rng, count, length):
    """A sum of five sines, always the same, to be made out of a constant input: learnt by heart."""
    fixed = np.random.default_rng(0)
    periods = np.geomspace(8, 320, 5)
    phases = fixed.uniform(0, 2 * np.pi, 5)
    wave = np.sin(2 * np.pi * np.arange(length)[:, None] / periods + phases).mean(axis=1)
    targets = np.broadcast_to(wave.astype("float32")[None, :, None], (count, length, 1))
    return Sequences(np.ones_like(targets), targets, np.ones((count, length), "float32"))
