"""The LSTMs of "LSTM: A search space odyssey": vanilla, and eight variants that each differ in one respect.

Greff, Srivastava, Koutník, Steunebrink & Schmidhuber 2017, IEEE TNNLS 28 (10). Vanilla (V) is
`PeepholeLSTMCell`, and NP is `LSTMCell`.
"""

from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_gates.cells.base import cell_classes, register
from keras_gates.cells.lstm import CoupledLSTMCell, PeepholeLSTMCell


@register("NIG")
class NoInputGateLSTMCell(PeepholeLSTMCell):
    r"""Vanilla LSTM without input gate (NIG): i = 1. Arguments as in `PeepholeLSTMCell`."""

    gates = ("f", "g", "o")
    source = "Greff et al. 2017, LSTM: A search space odyssey"


@register("NFG")
class NoForgetGateLSTMCell(PeepholeLSTMCell):
    r"""Vanilla LSTM without forget gate (NFG): f = 1. Arguments as in `PeepholeLSTMCell`."""

    gates, remember = ("i", "g", "o"), None
    without = ("unit_forget_bias",)
    source = "Greff et al. 2017, LSTM: A search space odyssey"


@register("NOG")
class NoOutputGateLSTMCell(PeepholeLSTMCell):
    r"""Vanilla LSTM without output gate (NOG): o = 1. Arguments as in `PeepholeLSTMCell`."""

    gates = ("i", "f", "g")
    source = "Greff et al. 2017, LSTM: A search space odyssey"


@register("NIAF")
class NoInputActivationLSTMCell(PeepholeLSTMCell):
    r"""Vanilla LSTM without input activation (NIAF): g = W_g x + U_g h + b_g.

    Arguments as in `PeepholeLSTMCell`.
    """

    source = "Greff et al. 2017, LSTM: A search space odyssey"

    def squash_candidate(self, g):
        return g


@register("NOAF")
class NoOutputActivationLSTMCell(PeepholeLSTMCell):
    r"""Vanilla LSTM without output activation (NOAF): h' = o ⊙ c'. Arguments as in `PeepholeLSTMCell`."""

    source = "Greff et al. 2017, LSTM: A search space odyssey"

    def squash_memory(self, c):
        return c


@register("CIFG")
class CoupledPeepholeLSTMCell(CoupledLSTMCell):
    r"""Vanilla LSTM with coupled input and forget gates (CIFG): i = 1 − f.

    A `CoupledLSTMCell` that has peepholes by default.
    """

    def __init__(self, units: int, *, peepholes: Iterable[str] | None = None, **kwargs: Any) -> None:
        super().__init__(units, peepholes=peepholes, **kwargs)


@register("FGR")
class FullGateRecurrenceLSTMCell(PeepholeLSTMCell):
    r"""Vanilla LSTM with full gate recurrence (FGR): i, f, o also depend on the previous i, f, o.

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i + R_ii i + R_fi f + R_oi o)        f, o likewise

    So the gates are states too. The nine matrices are the blocks of one weight, `gate_kernel`, shape
    `(3·units, 3·units)`: rows for the previous i, f, o, columns for the new ones. Its initializer is that of
    the recurrent kernel. Arguments as in `PeepholeLSTMCell`.
    """

    states = ("h", "c", "i", "f", "o")
    source = "Greff et al. 2017, LSTM: A search space odyssey; Hochreiter & Schmidhuber 1997"

    @property
    def learnable_states(self):
        return ("h", "c")

    def build_own(self, features):
        super().build_own(features)
        self.gate_kernel = self.add_weight_of_kind(
            "recurrent", "gate_kernel", (3 * self.units, 3 * self.units)
        )

    def step(self, x, states, recur):
        *states, i, f, o = states
        i, f, o = self.split(self.product(ops.concatenate([i, f, o], axis=-1), self.gate_kernel))
        heard = ops.concatenate([i, f, ops.zeros_like(f), o], axis=-1)
        states, gates = super().step(x + heard, states, recur)
        return (*states, gates["i"], gates["f"], gates["o"]), gates


ODYSSEY = {
    name: cell_classes()[name] for name in ("V", "NIG", "NFG", "NOG", "NIAF", "NOAF", "NP", "CIFG", "FGR")
}
