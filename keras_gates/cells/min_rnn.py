"""minGRU and minLSTM: gates that see the input alone."""

from keras_gates.cells.base import GatedCell, register

# What a cell without recurrent weights has no use for.
_OF_RECURRENCE = (
    "recurrent_initializer",
    "recurrent_regularizer",
    "recurrent_constraint",
    "recurrent_dropout",
)


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
