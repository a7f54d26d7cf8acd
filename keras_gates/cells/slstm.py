"""sLSTM: exponential gates, kept in range by a running maximum."""

from typing import Any, Literal

from keras import ops

from keras_gates._arguments import check_choice
from keras_gates.cells.base import register
from keras_gates.cells.lstm import LSTMCell

# The logarithm of an empty memory: its exponential is zero, and float16 can represent it.
NOTHING_YET = -1e4


@register("slstm")
class SLSTMCell(LSTMCell):
    r"""sLSTM of the xLSTM: exponential gates, a normaliser n, and a stabiliser m that keeps them finite.

        i = exp(W_i x + U_i h + b_i)        f = σ(…) or exp(…)
        g = φ(W_g x + U_g h + b_g)          o = σ(W_o x + U_o h + b_o)
        m' = max(log f + m, log i)
        i ← exp(log i − m')        f ← exp(log f + m − m')
        c' = f ⊙ c + i ⊙ g
        n' = f ⊙ n + i
        h' = o ⊙ c' / n'

    c and n are those of the paper times exp(−m). At first h, c and n are zero and m is so low that the
    first step forgets it, whatever its gates: from then on n ≥ 1. There is one head; the paper's several
    heads (a block-diagonal U) are not implemented. A trace has the stabilised i and f, which are at most one.

    Args:
        forget: the activation of f, `"sigmoid"` or `"exponential"`.
        recurrent_activation: σ of the output gate.
        units, **kwargs: as in `GatedCell`.
    """

    states = ("h", "c", "n", "m")
    source = "Beck et al. 2024, xLSTM: Extended long short-term memory"

    def __init__(
        self, units: int, *, forget: Literal["sigmoid", "exponential"] = "sigmoid", **kwargs: Any
    ) -> None:
        super().__init__(units, **kwargs)
        self.forget = check_choice("forget", forget, ("sigmoid", "exponential"))

    @property
    def learnable_states(self):
        return ("h",)

    def get_initial_state(self, batch_size=None):
        h, c, n, m = super().get_initial_state(batch_size)
        return [h, c, n, m + NOTHING_YET]

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        h, c, n, m_before = states
        log_i, log_f, g, o = self.split(x + recur(h))
        log_f = ops.log_sigmoid(log_f) if self.forget == "sigmoid" else log_f
        m = ops.maximum(log_f + m_before, log_i)
        i = ops.exp(log_i - m)
        f = ops.exp(log_f + m_before - m)
        g = phi(g)
        c = f * c + i * g
        n = f * n + i
        o = sigma(o)
        h = o * c / n
        return (h, c, n, m), {"i": i, "f": f, "g": g, "o": o}
