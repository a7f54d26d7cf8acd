"""One random question put to every implementation of a cell, and how two answers are compared."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from oracles import differentiate, run

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 4
MASKS = ("none", "right", "left", "holes")


def mask_of(kind, batch=BATCH, time=TIME):
    """A mask (batch, time), or None: rows ever shorter, the first full and the last without a single step."""
    if kind == "none":
        return None
    mask = np.arange(time) < np.linspace(time, 0, batch).astype(int)[:, None]
    if kind == "left":
        mask = mask[:, ::-1].copy()
    if kind == "holes":
        mask = np.random.default_rng(3).random((batch, time)) < 0.6
        mask[1, :2], mask[-1] = (False, True), False
    return mask


@dataclass(frozen=True)
class Problem:
    """Inputs "x", initial states by name and weights by name, all in ``arrays``; a mask; a direction; and a
    loss, Σ outputs ⊙ A + Σ final states ⊙ B with random A and B, whose gradient is asked for.

    ``counted`` names the states that are whole numbers, of which no gradient is asked.
    """

    arrays: dict
    state_names: tuple
    cotangents: dict
    mask: np.ndarray | None = None
    go_backwards: bool = False
    counted: tuple = ()

    @property
    def weights(self):
        return {k: v for k, v in self.arrays.items() if k not in ("x", *self.state_names)}

    @property
    def varied(self):
        """The arrays that a gradient is taken of."""
        return {k: v for k, v in self.arrays.items() if k not in self.counted}


class Answer(NamedTuple):
    """Outputs (batch, time, units), final states by name, gradients of the loss by name of the array."""

    outputs: np.ndarray
    final: dict
    gradients: dict | None = None


def named(variables):
    """Variables by name; of those that share a name, the second is ``name_2``."""
    by_name = {}
    for variable in variables:
        count = sum(other.name == variable.name for other in by_name.values())
        by_name[f"{variable.name}_{count + 1}" if count else variable.name] = variable
    return by_name


def random_problem(weights, states, mask="none", go_backwards=False, seed=0, within=None):
    """A problem for weights and states given as ``{name: shape}``; every number is exact in float32.

    ``within`` brings a state into the range its cell knows: a function by the state's name.
    """
    rng = np.random.default_rng(seed)

    def normal(shape, scale=1.0):
        return rng.normal(0, scale, shape).astype("float32").astype("float64")

    arrays = {"x": normal((BATCH, TIME, FEATURES))}
    arrays |= {name: normal(shape, 0.5) for name, shape in states.items()}
    arrays |= {name: normal(shape, 0.5) for name, shape in weights.items()}
    arrays |= {name: bring(arrays[name]) for name, bring in (within or {}).items()}
    counted = tuple(name for name in states if np.all(arrays[name] % 1 == 0))
    cotangents = {"outputs": normal((BATCH, TIME, UNITS), 0.3)}
    cotangents |= {name: normal(shape, 0.0 if name in counted else 0.3) for name, shape in states.items()}
    return Problem(arrays, tuple(states), cotangents, mask_of(mask), go_backwards, counted)


def transcribed(oracle, problem, gradients=True, **options):
    """The answer of a NumPy transcription, differentiated by complex steps."""

    def forward(arrays):
        weights = {name: arrays[name] for name in problem.weights}
        states = [arrays[name] for name in problem.state_names]
        return run(
            lambda x, states: oracle(x, states, weights, **options),
            arrays["x"],
            states,
            problem.mask,
            problem.go_backwards,
        )

    def loss(varied):
        record = forward({**problem.arrays, **varied})
        ends = zip(problem.state_names, record.final, strict=True)
        return np.sum(record.outputs * problem.cotangents["outputs"]) + sum(
            np.sum(value * problem.cotangents[name]) for name, value in ends
        )

    record = forward(problem.arrays)
    final = dict(zip(problem.state_names, record.final, strict=True))
    slopes = differentiate(loss, problem.varied) if gradients else None
    return Answer(record.outputs, final, slopes)


def assert_same(ours, theirs, tolerance=1e-5):
    """Two answers agree in outputs, final states and, where both have them, in every gradient."""

    def close(name, actual, expected):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)

    close("outputs", ours.outputs, theirs.outputs)
    assert set(ours.final) == set(theirs.final)
    for name, state in theirs.final.items():
        close(f"state {name}", ours.final[name], state)
    if ours.gradients is None or theirs.gradients is None:
        return
    assert set(ours.gradients) == set(theirs.gradients)
    for name, gradient in theirs.gradients.items():
        close(f"gradient of {name}", ours.gradients[name], gradient)
