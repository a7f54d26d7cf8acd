"""Relatives of the LSTM and the GRU from recent years."""

from keras import ops

from keras_gates.cells.base import GatedCell, check_choice, register
from keras_gates.cells.lstm import LSTMCell

# The logarithm of an empty memory: exp of it is zero, and float16 can still hold it.
NOTHING_YET = -1e4

# What a cell without recurrent weights has no use for.
_OF_RECURRENCE = (
    "recurrent_initializer",
    "recurrent_regularizer",
    "recurrent_constraint",
    "recurrent_dropout",
)


@register("janet")
class JANETCell(GatedCell):
    r"""Just another network: an LSTM with the forget gate alone.

        s = W_f x + U_f h + b_f
        f = σ(s)        i = 1 − σ(s − β)
        g = φ(W_g x + U_g h + b_g)
        h' = f ⊙ h + i ⊙ g

    The memory is the output. Reports i as well.

    Args:
        beta: β, by which more is written than forgotten; zero couples the gates exactly.
        units, **kwargs: as in `GatedCell`.
    """

    gates, states, remember = ("f", "g"), ("h",), "f"
    source = "van der Westhuizen & Lasenby 2018, The unreasonable effectiveness of the forget gate"

    def __init__(self, units, *, beta=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.beta = beta

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        (h,) = states
        s, g = self.split(x + recur(h))
        f = sigma(s)
        i = 1 - sigma(s - self.beta)
        g = phi(g)
        h = f * h + i * g
        return (h,), {"i": i, "f": f, "g": g}


class UnrecurrentCell(GatedCell):
    """Base of the cells whose gates see the input alone, so that h' is linear in h.

    There is no `recurrent_kernel`. Whatever the gates say, a whole sequence could be had by a parallel scan;
    this package takes it step by step.
    """

    states = ("h",)
    without = ("unit_forget_bias", *_OF_RECURRENCE)

    @property
    def recurrent_gates(self):
        return ()


@register("min-gru")
class MinGRUCell(UnrecurrentCell):
    r"""minGRU: a GRU whose gate and candidate do not see its past.

        u = σ(W_u x + b_u)
        n = φ(W_n x + b_n)
        h' = (1 − u) ⊙ h + u ⊙ n

    Args:
        activation: φ, linear by default. The paper's logarithmic form takes a positive φ:
            x + 1/2 where x ≥ 0, else σ(x).
        units, **kwargs: as in `GatedCell`, without what concerns recurrent weights.
    """

    gates = ("u", "n")
    source = "Feng et al. 2024, Were RNNs all we needed?"

    def __init__(self, units, *, activation="linear", **kwargs):
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
    r"""minLSTM: an LSTM whose gates do not see its past and share out one.

        i = σ(W_i x + b_i)        f likewise
        g = φ(W_g x + b_g)
        h' = (f ⊙ h + i ⊙ g) / (f + i)

    The memory is the output. Reports i and f as shared out: i / (f + i), f / (f + i).

    Args:
        activation: φ, linear by default, as in `MinGRUCell`.
        units, **kwargs: as in `GatedCell`, without what concerns recurrent weights.
    """

    gates, remember = ("i", "f", "g"), "f"
    without = _OF_RECURRENCE
    source = "Feng et al. 2024, Were RNNs all we needed?"

    def __init__(self, units, *, activation="linear", **kwargs):
        super().__init__(units, activation=activation, **kwargs)

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        (h,) = states
        i, f, g = self.split(x)
        i = sigma(i)
        f = sigma(f)
        g = phi(g)
        i, f = i / (f + i), f / (f + i)
        h = f * h + i * g
        return (h,), {"i": i, "f": f, "g": g}


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
    first step forgets it, whatever its gates: from then on n ≥ 1. The paper's several heads (U in
    diagonal blocks) are one here. Reports i and f as stabilised, at most one.

    Args:
        forget: what makes f, `"sigmoid"` or `"exponential"`.
        recurrent_activation: σ of the output gate.
        units, **kwargs: as in `GatedCell`.
    """

    states = ("h", "c", "n", "m")
    source = "Beck et al. 2024, xLSTM: Extended long short-term memory"

    def __init__(self, units, *, forget="sigmoid", **kwargs):
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
