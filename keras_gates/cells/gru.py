"""Gated recurrent units."""

from typing import Any, Literal

from keras_gates._arguments import check_choice
from keras_gates.cells.base import GatedCell, register


@register("gru")
class GRUCell(GatedCell):
    r"""Gated recurrent unit.

        u = σ(W_u x + U_u h + b_u)        r likewise
        n = φ(W_n x + U_n (r ⊙ h) + b_n)               reset_after=False (Cho et al. 2014)
        n = φ(W_n x + b_n + r ⊙ (U_n h + b_Un))        reset_after=True (cuDNN's form)
        h' = u ⊙ h + (1 − u) ⊙ n                       update="keep"
        h' = (1 − u) ⊙ h + u ⊙ n                       update="write" (Chung et al. 2014)

    The weights are those of `keras.layers.GRUCell`; with `reset_after` the bias has the shape
    `(2, 3·units)`, for W x and for U h.

    Args:
        reset_after: whether the reset gate acts after the recurrent product (Keras' default) or before.
        update: whether the update gate says how much of h to `"keep"` (as in Keras) or to `"write"`.
        units, **kwargs: as in `GatedCell`.
    """

    gates, states = ("u", "r", "n"), ("h",)
    without = ("unit_forget_bias",)
    source = "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; Chung et al. 2014"

    def __init__(
        self,
        units: int,
        *,
        reset_after: bool = True,
        update: Literal["keep", "write"] = "keep",
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.reset_after = reset_after
        self.update = check_choice("update", update, ("keep", "write"))

    @property
    def timing(self):
        return {"u": 1 if self.update == "keep" else -1}

    @property
    def bias_shape(self):
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def project(self, inputs, mask=None):
        x = self.product(inputs, self.kernel, mask)
        if not self.use_bias:
            return x
        return x + (self.bias[0] if self.reset_after else self.bias)

    def recur(self, h, *gates, mask=None):
        y = super().recur(h, *gates, mask=mask)
        return y + self.bias[1] if self.reset_after and self.use_bias else y

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        (h,) = states
        x_u, x_r, x_n = self.split(x)
        if self.reset_after:
            u_h, r_h, n_h = self.split(recur(h))
        else:
            u_h, r_h = self.split(recur(h, "u", "r"))
        u = sigma(x_u + u_h)
        r = sigma(x_r + r_h)
        n = phi(x_n + (r * n_h if self.reset_after else recur(r * h, "n")))
        keep = u if self.update == "keep" else 1 - u
        h = keep * h + (1 - keep) * n
        return (h,), {"u": u, "r": r, "n": n}


@register("minimal-gated")
class MinimalGatedCell(GatedCell):
    r"""Minimal gated unit: one gate resets and updates.

        f = σ(W_f x + U_f h + b_f)
        n = φ(W_n x + U_n (f ⊙ h) + b_n)
        h' = (1 − f) ⊙ h + f ⊙ n

    That is a `GRUCell(reset_after=False, update="write")` whose gates u and r are the same f.
    Arguments as in `GatedCell`.
    """

    gates, states = ("f", "n"), ("h",)
    without = ("unit_forget_bias",)
    source = "Zhou et al. 2016, Minimal gated unit for recurrent neural networks"

    @property
    def timing(self):
        return {"f": -1}

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        (h,) = states
        x_f, x_n = self.split(x)
        f = sigma(x_f + recur(h, "f"))
        n = phi(x_n + recur(f * h, "n"))
        h = (1 - f) * h + f * n
        return (h,), {"f": f, "n": n}
