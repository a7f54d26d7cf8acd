"""minGRU and minLSTM: gates that depend only on the input."""

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import Activation
from keras_gates.cells.base import GatedCell, register

# Arguments that do not apply to a cell without recurrent weights.
_OF_RECURRENCE = (
    "recurrent_initializer",
    "recurrent_regularizer",
    "recurrent_constraint",
    "recurrent_dropout",
)


class UnrecurrentCell(GatedCell):
    """Base of the cells whose gates depend only on the input, so that h' is linear in h.

    There is no `recurrent_kernel`. A whole sequence could be computed by a parallel scan; this package
    computes it step by step.
    """

    states = ("h",)
    without = ("unit_forget_bias", *_OF_RECURRENCE)

    @property
    def recurrent_gates(self):
        return ()


@register("min-gru")
class MinGRUCell(UnrecurrentCell):
    r"""minGRU: a GRU whose gate and candidate do not depend on its state.

        u = σ(W_u x + b_u)
        n = φ(W_n x + b_n)
        h' = (1 − u) ⊙ h + u ⊙ n

    Args:
        activation: φ, linear by default. The paper's logarithmic form takes a positive φ:
            x + 1/2 where x ≥ 0, else σ(x).
        units, **kwargs: as in `GatedCell`, without those for recurrent weights.
    """

    gates = ("u", "n")
    source = "Feng et al. 2024, Were RNNs all we needed?"

    @property
    def timing(self):
        return {"u": -1}

    def __init__(self, units: int, *, activation: Activation = "linear", **kwargs: Any) -> None:
        super().__init__(units, activation=activation, **kwargs)

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        (h,) = states
        u, n = self.split(x)
        u = sigma(u)
        n = phi(n)
        h = (1 - u) * h + u * n
        return (h,), {"u": u, "n": n}


@register("min-lstm")
class MinLSTMCell(UnrecurrentCell):
    r"""minLSTM: an LSTM whose gates do not depend on its state and sum to one.

        i = σ(W_i x + b_i)        f likewise
        g = φ(W_g x + b_g)
        h' = (f ⊙ h + i ⊙ g) / (f + i)

    The memory is the output. The gates that are traced are those normalised to sum to one: i / (f + i),
    f / (f + i). Where σ is the sigmoid they are computed from log σ(k) = −softplus(−k), as in the paper's
    appendix, f / (f + i) = σ(log f − log i): this is defined even where both gates are shut.

    Args:
        activation: φ, linear by default, as in `MinGRUCell`.
        units, **kwargs: as in `GatedCell`, without those for recurrent weights.
    """

    gates, remember = ("i", "f", "g"), "f"
    without = _OF_RECURRENCE
    source = "Feng et al. 2024, Were RNNs all we needed?"

    def __init__(self, units: int, *, activation: Activation = "linear", **kwargs: Any) -> None:
        super().__init__(units, activation=activation, **kwargs)

    def normalize(self, i, f):
        """i / (f + i) and f / (f + i), from pre-activations; zeros where both gates are exactly zero."""
        sigma = self.recurrent_activation
        if sigma is keras.activations.sigmoid:
            f = sigma(ops.softplus(-i) - ops.softplus(-f))
            return 1 - f, f
        i, f = sigma(i), sigma(f)
        return ops.divide_no_nan(i, f + i), ops.divide_no_nan(f, f + i)

    def step(self, x, states, recur):
        (h,) = states
        i, f, g = self.split(x)
        i, f = self.normalize(i, f)
        g = self.activation(g)
        h = f * h + i * g
        return (h,), {"i": i, "f": f, "g": g}
