"""The copy problem: one symbol somewhere among blanks, to be told at the last step."""

import numpy as np

SYMBOLS = 8


def copy_problem(starts, length, rng):
    """Inputs (sequences, length, SYMBOLS + 1), one-hot, the last feature the question; targets (sequences,).

    starts: the step at which each sequence shows its symbol, (sequences,).
    """
    sequences = len(starts)
    targets = rng.integers(SYMBOLS, size=sequences)
    inputs = np.zeros((sequences, length, SYMBOLS + 1), "float32")
    inputs[np.arange(sequences), starts, targets] = 1
    inputs[:, -1, -1] = 1
    return inputs, targets.astype("int32")
