"""The simple recurrent cell, without gates."""

from keras_gates.cells.base import GatedCell, register


@register("simple")
class SimpleRNNCell(GatedCell):
    r"""The simple recurrent cell, the baseline for gated ones.

        h' = φ(W x + U h + b)

    A trace has n = h'. The weights are those of `keras.layers.SimpleRNNCell`. Arguments as in `GatedCell`,
    without those for gates.
    """

    gates, states = ("n",), ("h",)
    draws_mask_seed_first = True
    without = ("recurrent_activation", "unit_forget_bias", "dropout_per_gate")
    source = "Elman 1990, Finding structure in time"

    def step(self, x, states, recur):
        (h,) = states
        h = self.activation(x + recur(h))
        return (h,), {"n": h}
