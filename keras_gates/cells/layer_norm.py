"""Cells whose matrix products are normalised over the units before they are added."""

import math
import numbers
from typing import Any, Literal

from keras import ops

from keras_gates._arguments import Constraint, Initializer, Regularizer, check_choice, resolve
from keras_gates.cells.base import GatedCell, register
from keras_gates.cells.gru import GRUCell
from keras_gates.cells.lstm import LSTMCell
from keras_gates.cells.simple import SimpleRNNCell

SOURCE = "Ba, Kiros & Hinton 2016, Layer normalization"


class LayerNormCell(GatedCell):
    """What the layer-normalised cells share: gains, one for each normalised column.

        LN(a; γ) = γ ⊙ (a − mean a) / √(var a + ε)

    The bias is the shift of a normalised product: it includes the paper's β.

    Args:
        gamma_initializer, gamma_regularizer, gamma_constraint: for the gains γ.
        epsilon: ε, positive, added to the variance.
        units, **kwargs: as in `GatedCell`.
    """

    def __init__(
        self,
        units: int,
        *,
        gamma_initializer: Initializer = "ones",
        gamma_regularizer: Regularizer = None,
        gamma_constraint: Constraint = None,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.gamma_initializer = resolve("gamma_initializer", gamma_initializer)
        self.gamma_regularizer = resolve("gamma_regularizer", gamma_regularizer)
        self.gamma_constraint = resolve("gamma_constraint", gamma_constraint)
        if isinstance(epsilon, bool) or not isinstance(epsilon, numbers.Real) or not 0 < epsilon < math.inf:
            raise ValueError(f"`epsilon` must be a positive number; got {epsilon!r}.")
        self.epsilon = epsilon

    def add_gain(self, name, size):
        return self.add_weight_of_kind("gamma", name, (size,))

    def normalize(self, a, gamma):
        """LN(a; γ) over the last axis."""
        return ops.layer_normalization(a, gamma=gamma, epsilon=self.epsilon)


@register("layer-norm-simple")
class LayerNormSimpleRNNCell(LayerNormCell, SimpleRNNCell):
    r"""Simple recurrent cell with layer normalisation.

        h' = φ(LN(W x + U h; γ) + b)

    The gain γ is the weight `gamma`. As `tfa.rnn.LayerNormSimpleRNNCell`, with a default ε of 1e-3 instead of
    1e-5.

    Arguments as in `LayerNormCell`.
    """

    source = SOURCE

    def build_own(self, features):
        self.gamma = self.add_gain("gamma", self.units)

    def project(self, inputs, mask=None):
        return self.product(inputs, self.kernel, mask)

    def step(self, x, states, recur):
        (h,) = states
        a = self.normalize(x + recur(h), self.gamma)
        h = self.activation(a if self.bias is None else a + self.bias)
        return (h,), {"n": h}


@register("layer-norm-lstm")
class LayerNormLSTMCell(LayerNormCell, LSTMCell):
    r"""LSTM with layer normalisation.

        i = σ of the i part of LN(W x; γ_x) + LN(U h; γ_h) + b        f, o likewise, g with φ
        c' = f ⊙ c + i ⊙ g
        h' = o ⊙ φ(LN(c'; γ_c) + β_c)

    LN normalises all gates together. The weights γ_x, γ_h, γ_c, β_c are `kernel_gamma`, `recurrent_gamma`,
    `state_gamma`, `state_beta`.

    Args:
        carry: the memory that is passed to the next step: `"plain"`, c', as in the paper; or `"normalized"`,
            what the output sees, LN(c'; γ_c) + β_c, as in `tfa.rnn.LayerNormLSTMCell`.
        units, **kwargs: as in `LayerNormCell`.
    """

    source = SOURCE

    def __init__(self, units: int, *, carry: Literal["plain", "normalized"] = "plain", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.carry = check_choice("carry", carry, ("plain", "normalized"))

    def build_own(self, features):
        self.kernel_gamma = self.add_gain("kernel_gamma", 4 * self.units)
        self.recurrent_gamma = self.add_gain("recurrent_gamma", 4 * self.units)
        self.state_gamma = self.add_gain("state_gamma", self.units)
        self.state_beta = self.add_weight(shape=(self.units,), name="state_beta", initializer="zeros")

    def project(self, inputs, mask=None):
        x = self.normalize(self.product(inputs, self.kernel, mask), self.kernel_gamma)
        return x if self.bias is None else x + self.bias

    def recur(self, h, *gates, mask=None):
        return self.normalize(super().recur(h, *gates, mask=mask), self.recurrent_gamma)

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        h, c = states
        i, f, g, o = self.split(x + recur(h))
        i = sigma(i)
        f = sigma(f)
        g = phi(g)
        c = f * c + i * g
        o = sigma(o)
        seen = self.normalize(c, self.state_gamma) + self.state_beta
        h = o * phi(seen)
        return (h, c if self.carry == "plain" else seen), {"i": i, "f": f, "g": g, "o": o}


@register("layer-norm-gru")
class LayerNormGRUCell(LayerNormCell, GRUCell):
    r"""Gated recurrent unit with layer normalisation.

        u = σ of the u part of LN(W x; γ_x) + LN(U h; γ_h) + b + b_U        r likewise
        n = φ(LN(W_n x; γ_x) + b + r ⊙ (LN(U_n h; γ_h) + b_U))
        h' = u ⊙ h + (1 − u) ⊙ n        or as `update` says

    LN normalises u and r together and n separately, as in the paper; otherwise the cell is a
    `GRUCell(reset_after=True)`. The weights γ_x, γ_h are `kernel_gamma`, `recurrent_gamma`. The paper's
    z says how much to write: `update="write"`.

    Args:
        update: as in `GRUCell`.
        units, **kwargs: as in `LayerNormCell`.
    """

    reset_after = True  # the form; no argument
    without = ("unit_forget_bias", "reset_after")
    source = SOURCE

    def build_own(self, features):
        self.kernel_gamma = self.add_gain("kernel_gamma", 3 * self.units)
        self.recurrent_gamma = self.add_gain("recurrent_gamma", 3 * self.units)

    def normalize(self, a, gamma):
        """LN over u and r together, and over n separately."""
        gates = 2 * self.units
        return ops.concatenate(
            [
                super().normalize(a[..., :gates], gamma[:gates]),
                super().normalize(a[..., gates:], gamma[gates:]),
            ],
            axis=-1,
        )

    def project(self, inputs, mask=None):
        x = self.normalize(self.product(inputs, self.kernel, mask), self.kernel_gamma)
        return x + self.bias[0] if self.use_bias else x

    def recur(self, h, *gates, mask=None):
        y = self.normalize(GatedCell.recur(self, h, *gates, mask=mask), self.recurrent_gamma)
        return y + self.bias[1] if self.use_bias else y
