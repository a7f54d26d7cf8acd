"""The simple recurrent cell, without gates."""

from keras_gates.cells.base import GatedCell, register


@register("simple")
class SimpleRNNCell(GatedCell):
    r"""The simple recurrent cell, with which gated ones are compared.

        h' = φ(W x + U h + b)

    Reports n = h'. Weights as those of `keras.layers.SimpleRNNCell`. Arguments as `GatedCell`,
    without those of gates.
    """

    gates, states = ("n",), ("h",)
    draws_mask_seed_first = True
    without = ("recurrent_activation", "unit_forget_bias", "dropout_per_gate")
    source = "Elman 1990, Finding structure in time"

    def step(self, x, states, recur):
        (h,) = states
        h = self.activation(x + recur(h))
        return (h,), {"n": h}
