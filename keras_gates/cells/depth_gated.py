"""A stack of LSTM layers whose memories are connected by gates."""

from typing import Any

from keras_gates._arguments import arguments_of, check_size, fresh
from keras_gates.cells.base import register
from keras_gates.cells.lstm import LSTMCell


class UpperLevel(LSTMCell):
    r"""A level of a depth-gated stack above the first: an LSTM that also receives the memory below it.

        d = σ(W_d x + w_q ⊙ c + w_l ⊙ c_below' + b_d)
        c' = f ⊙ c + i ⊙ g + d ⊙ c_below'

    Its states before a step are h, c and c_below', which it only reads; after it, h and c. w_q and
    w_l are the weights `depth_own` and `depth_below`. Arguments as in `LSTMCell`.
    """

    gates, states = ("i", "f", "g", "o", "d"), ("h", "c", "below")

    @property
    def recurrent_gates(self):
        return ("i", "f", "g", "o")

    def build_own(self, features):
        self.depth_own = self.add_weight(shape=(self.units,), name="depth_own", initializer="zeros")
        self.depth_below = self.add_weight(shape=(self.units,), name="depth_below", initializer="zeros")

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        h, c, below = states
        *x, d = self.split(x)
        i, f, g, o = (a + b for a, b in zip(x, self.split(recur(h)), strict=True))
        i = sigma(i)
        f = sigma(f)
        g = phi(g)
        d = sigma(d + self.depth_own * c + self.depth_below * below)
        c = f * c + i * g + d * below
        o = sigma(o)
        h = o * phi(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o, "d": d}


@register("depth-gated")
class DepthGatedLSTMCell(LSTMCell):
    r"""A stack of LSTM levels in one cell, with a gate between the memories of neighbouring levels.

    The first level is an `LSTMCell`. A level above it has the output of the level below as its x, and

        d = σ(W_d x + w_q ⊙ c + w_l ⊙ c_below' + b_d)
        c' = f ⊙ c + i ⊙ g + d ⊙ c_below'

    where c_below' is the memory that the level below has after the step. i, f, g, o and h' are those
    of an `LSTMCell`; the paper's own peepholes are left out.

    The weights are those of `levels`, from the bottom up. The output is h of the top level; the states
    are h and c of each level from the top down: h2, c2, h1, c1. A trace names the gates with their
    level: i1, …, d2.

    Args:
        depth: the number of levels, from 1 to 1000. `depth=1` is an `LSTMCell`.
        dropout: as in `GatedCell`, applied to the input of each level.
        units, **kwargs: as in `GatedCell`.
    """

    without = ("dropout_per_gate",)
    source = "Yao et al. 2015, Depth-gated LSTM"

    def __init__(self, units: int, *, depth: int = 2, **kwargs: Any) -> None:
        self.depth = check_size("depth", depth, most=1000)
        super().__init__(units, **kwargs)
        self.levels = [self._level(k) for k in range(self.depth)]

    def _level(self, k):
        arguments = {name: getattr(self, name) for name in arguments_of(LSTMCell)}
        if k:
            arguments = {name: fresh(value) for name, value in arguments.items()}
        arguments["learn_initial_state"] = False  # the stack as a whole learns it
        # With one seed for all, all levels would drop the same units.
        arguments["seed"] = None if self.seed is None else self.seed + k
        level = UpperLevel if k else LSTMCell
        return level(**arguments, dtype=self.dtype_policy, name=f"level_{k + 1}")

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name in arguments_of(LSTMCell):
            for level in getattr(self, "levels", ()):
                setattr(level, name, value)

    @property
    def gates(self):
        return tuple(f"{gate}{k}" for k, level in enumerate(self.levels, 1) for gate in level.gates)

    @property
    def states(self):
        return tuple(f"{state}{k}" for k in range(self.depth, 0, -1) for state in ("h", "c"))

    def build_weights(self, features):
        for level in self.levels:
            level.build((None, features))
            features = self.units

    def project(self, inputs, mask=None):
        return self.levels[0].project(inputs, mask)

    def advance(self, projected, states, training=False):
        self.check_states(states)
        lowest, *upper = [states[k : k + 2] for k in range(len(states) - 2, -1, -2)]
        output, carried, gates = self.levels[0].advance(projected, lowest, training)
        gates = {f"{name}1": gate for name, gate in gates.items()}
        for k, (level, own) in enumerate(zip(self.levels[1:], upper, strict=True), 2):
            below = carried[1]
            output, new_states, level_gates = level.call_with_gates(output, [*own, below], training)
            carried = [*new_states, *carried]
            gates |= {f"{name}{k}": gate for name, gate in level_gates.items()}
        return output, carried, gates

    # The masks of all levels are drawn before Keras' loop over time, when Keras requests those of the stack.

    def get_recurrent_dropout_mask(self, step_input):
        for level in self.levels[1:]:
            level.get_dropout_mask(step_input)
        return [level.get_recurrent_dropout_mask(step_input) for level in self.levels]

    def reset_recurrent_dropout_mask(self):
        for level in self.levels:
            level.reset_dropout_mask()
            level.reset_recurrent_dropout_mask()
