"""Adding, copying, temporal order: what came long ago has to be remembered."""

import numpy as np

from experiments.synthetic.sequences import Sequences

COPIED = 10  # symbols to be copied, each one of 8


def adding(rng, count, length):
    """Numbers from 0 to 1, two of which are marked; at the last step their sum is asked for.

    Both places are drawn from the whole sequence, as in Bai et al. 2018.
    """
    inputs, targets, weights = _empty(count, length, features=2, outputs=1)
    rows = np.arange(count)
    first = rng.integers(length, size=count)
    second = (first + rng.integers(1, length, size=count)) % length
    inputs[..., 0] = rng.random((count, length))
    inputs[rows, first, 1] = inputs[rows, second, 1] = 1
    targets[:, -1, 0] = (inputs[..., 0] * inputs[..., 1]).sum(axis=1)
    weights[:, -1] = 1
    return Sequences(inputs, targets, weights)


def copy(rng, count, length):
    """Ten symbols, `length` - 1 blanks, eleven signs; in the last ten steps the symbols are to be said again.

    A sequence has `length` + 20 steps. At all others the answer is the blank, 0, and counts too.
    """
    symbols = rng.integers(1, 9, (count, COPIED))
    given = np.zeros((count, length + 2 * COPIED), int)
    given[:, :COPIED] = symbols
    given[:, -COPIED - 1 :] = 9
    wanted = np.zeros_like(given)
    wanted[:, -COPIED:] = symbols
    return Sequences(one_hot(given, 10), one_hot(wanted, 9), np.ones(given.shape, "float32"))


def temporal_order(rng, count, length):
    """Two symbols among distractors, asked for at the last step: XX, XY, YX or YY.

    The first stands after 10 to 20 % of `length`, the second after 50 to 60 %; the sequence has from
    `length` to 1.1 `length` steps (Hochreiter & Schmidhuber 1997, task 6a). Symbols: E begins, a to d
    distract, X and Y, B ends.
    """
    steps = length + rng.integers(length // 10 + 1, size=count)
    rows = np.arange(count)
    given = rng.integers(1, 5, (count, length + length // 10))
    told = rng.integers(2, size=(count, 2))
    for number, start in enumerate((length // 10, length // 2)):
        given[rows, start + rng.integers(max(1, length // 10), size=count)] = 5 + told[:, number]
    given[:, 0] = 0
    given[rows, steps - 1] = 7
    inputs = one_hot(given, 8) * (np.arange(given.shape[1]) < steps[:, None])[..., None]
    _, targets, weights = _empty(*given.shape, features=0, outputs=4)
    targets[rows, steps - 1, 2 * told[:, 0] + told[:, 1]] = 1
    weights[rows, steps - 1] = 1
    return Sequences(inputs.astype("float32"), targets, weights)


def one_hot(numbers, size):
    return np.eye(size, dtype="float32")[numbers]


def _empty(count, length, features, outputs):
    return (
        np.zeros((count, length, features), "float32"),
        np.zeros((count, length, outputs), "float32"),
        np.zeros((count, length), "float32"),
    )
