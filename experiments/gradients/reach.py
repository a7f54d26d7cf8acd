"""How much of a gradient arrives at each distance from the loss."""

import keras
import numpy as np

import keras_gates
from experiments.gradients.data import copy_problem
from experiments.gradients.network import network

SEQUENCES = 64  # over which gradients are averaged
GONE = 1e-3  # a gradient below this share of the last output's counts as gone
FORGET = "forget gates"


def reach(model, inputs, targets):
    """The norm of the gradient by each state, as a share of that by the last output.

    Returns the shares by state: arrays over the distance from the last step, means over the sequences. At
    distance 0 the share of a memory is 0: nothing follows it.
    """
    flow = keras_gates.gradient_flow(model, inputs, targets)["recurrent"]
    norms = {state: values.mean(axis=0)[::-1] for state, values in flow.items() if state != "t"}
    shares = {state: values / norms["h"][0] for state, values in norms.items()}
    if "c" in shares:
        forget = keras_gates.trace(model, inputs)["recurrent"]["f"]
        # the memory of distance d has passed the forget gates of distances d - 1, …, 0
        passed = np.cumprod(forget[:, ::-1], axis=1).mean(axis=(0, 2))
        shares[FORGET] = np.concatenate([[1.0], passed[:-1]])
    return shares


def measure(cell, options):
    """Train one cell. Returns its shares before and after training, and its accuracy at copying."""
    keras.utils.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    examples = copy_problem(np.zeros(SEQUENCES, int), options.length, rng)
    model = network(cell, options.units, options.length)
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate, clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    initial = reach(model, *examples)
    # Symbols at every distance: those near the end are learned first and help with those further back.
    starts = rng.integers(options.length - 1, size=options.steps * options.batch_size)
    model.fit(
        *copy_problem(starts, options.length, rng),
        batch_size=options.batch_size,
        verbose=0,
    )
    accuracy = model.evaluate(*examples, verbose=0, return_dict=True)["accuracy"]
    return {"initial": initial, "trained": reach(model, *examples)}, accuracy


def falls_below(shares):
    """The first distance from 1 at which the share is below `GONE`, or None."""
    below = np.flatnonzero(shares[1:] < GONE)
    return int(below[0]) + 1 if below.size else None
