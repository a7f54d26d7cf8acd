"""JANET: an LSTM with only a forget gate."""

from typing import Any

from keras_gates.cells.base import GatedCell, register


@register("janet")
class JANETCell(GatedCell):
    r"""Just another network: an LSTM with only a forget gate.

        s = W_f x + U_f h + b_f
        f = σ(s)        i = 1 − σ(s − β)
        g = φ(W_g x + U_g h + b_g)
        h' = f ⊙ h + i ⊙ g

    The memory is the output.

    Args:
        beta: β; the larger it is, the more the input gate exceeds 1 − f. Zero couples them: i = 1 − f.
        units, **kwargs: as in `GatedCell`.
    """

    gates, states, remember = ("f", "g"), ("h",), "f"
    source = "van der Westhuizen & Lasenby 2018, The unreasonable effectiveness of the forget gate"

    def __init__(self, units: int, *, beta: float = 1.0, **kwargs: Any) -> None:
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
