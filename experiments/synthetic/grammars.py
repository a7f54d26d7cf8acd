"""Counting languages and the Reber grammars: at every step, which symbols may follow."""

import numpy as np

from experiments.synthetic.remembering import one_hot
from experiments.synthetic.sequences import Sequences

REBER = "BTPSXVE"
# From a state of the grammar, what may follow, and the state after it (Reber 1967).
_ARROWS = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": None},
)


def counted(letters):
    """The function that draws aⁿbⁿ, of the letters "ab", or aⁿbⁿcⁿ, with n from 1 to `length`."""

    def draw(rng, count, length, longest=None):
        return counting(letters, rng.integers(1, length + 1, count))

    return draw


def counting(letters, numbers):
    """The strings aⁿbⁿ… of the numbers n, after a start symbol, and what may follow each symbol.

    Inputs are one-hot: the start, then the letters. Outputs are the letters, then the end: a and b may follow
    an a, only one symbol may follow any other (Gers & Schmidhuber 2001).
    """
    rows = [_counting_string(len(letters), number) for number in numbers]
    return _padded(rows, inputs=len(letters) + 1, outputs=len(letters) + 1)


def _counting_string(letters, number):
    given = np.repeat(np.arange(letters + 1), [1, *[number] * letters])
    may_follow = one_hot(np.append(given[1:] - 1, letters), letters + 1)
    may_follow[1 : number + 1, :2] = 1
    return given, may_follow


def reber(rng, count):
    """Strings of the Reber grammar; both arrows of a state are equally likely."""
    return _strings([_reber_string(rng) for _ in range(count)])


def embedded_reber(rng, count):
    """Reber strings between B T … T E or B P … P E: the last symbol but one is known from the second."""
    strings = []
    for _ in range(count):
        key = "TP"[rng.integers(2)]
        inner = _reber_string(rng)
        strings.append([("B", "TP"), (key, "B"), *inner[:-1], ("E", key), (key, "E"), ("E", "")])
    return _strings(strings)


def _reber_string(rng):
    """A list of (symbol, symbols that may follow)."""
    symbols, state = [], 0
    while state is not None:
        arrows = _ARROWS[state]
        symbol = list(arrows)[rng.integers(len(arrows))]
        state = arrows[symbol]
        symbols.append((symbol, "".join(_ARROWS[state]) if state is not None else ""))
    return symbols


def _strings(strings):
    rows = []
    for string in strings:
        given = np.array([REBER.index(symbol) for symbol, _ in string[:-1]])
        follow = [[float(symbol in may) for symbol in REBER] for _, may in string[:-1]]
        rows.append((given, np.array(follow, "float32")))
    return _padded(rows, inputs=len(REBER), outputs=len(REBER))


def _padded(rows, inputs, outputs):
    longest = max(len(given) for given, _ in rows)
    sequences = Sequences(
        np.zeros((len(rows), longest, inputs), "float32"),
        np.zeros((len(rows), longest, outputs), "float32"),
        np.zeros((len(rows), longest), "float32"),
    )
    for number, (given, may_follow) in enumerate(rows):
        sequences.inputs[number, : len(given)] = one_hot(given, inputs)
        sequences.targets[number, : len(given)] = may_follow
        sequences.weights[number, : len(given)] = 1
    return sequences
