"""A simple cell whose units run at several speeds."""

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from keras_gates._arguments import check_size
from keras_gates.cells.base import GatedCell, register

# The largest integer up to which a dtype represents every integer.
_COUNTS_TO = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}


@register("clockwork")
class ClockworkCell(GatedCell):
    r"""Clockwork RNN: modules of units with periods T_1 < … < T_m, from fast to slow.

        n = φ(W x + U h + b)
        h' = n in the modules whose T divides t, else h, bit for bit
        t' = t + 1, counted modulo lcm(T_1, …, T_m)

    A module depends on itself and on the slower ones: U is dense and masked, block-triangular. So the cell
    takes as long as a `SimpleRNNCell`, or a little longer; the paper's saving would need one product per
    module. Every module updates in the first step, t = 0.

    The states are h and the clock t, shape `(batch, 1)`: each sequence of a batch counts its own unmasked
    steps. A trace has n, and `tick`: one where a unit updates, zero where it keeps its state.

    Args:
        periods: the period of each module in steps, strictly increasing positive integers. The units are
            divided among the modules as evenly as possible, in this order.
        units, **kwargs: as in `GatedCell`; at least one unit for each module.

    Raises:
        ValueError: the periods do not increase, outnumber the units, or repeat after more steps than the
            compute dtype can count.
    """

    gates, states = ("n",), ("h", "t")
    without = ("recurrent_activation", "unit_forget_bias", "dropout_per_gate")
    source = "Koutník et al. 2014, A clockwork RNN"

    def __init__(self, units: int, *, periods: Iterable[int] = (1, 2, 4, 8), **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        if not isinstance(periods, Iterable):
            raise TypeError(f"`periods` must be several positive integers; got {periods!r}.")
        self.periods = tuple(check_size("periods", period) for period in periods)
        if not self.periods or any(slow <= fast for fast, slow in itertools.pairwise(self.periods)):
            raise ValueError(f"`periods` must increase strictly, from fast to slow; got {self.periods}.")
        if self.units < len(self.periods):
            raise ValueError(
                f"`units` must be at least the number of `periods`, so that every module has a unit; "
                f"got {self.units} units for {len(self.periods)} periods."
            )
        if self.cycle > _COUNTS_TO[self.compute_dtype]:
            raise ValueError(
                f"`periods` must repeat after at most {_COUNTS_TO[self.compute_dtype]} steps, the largest "
                f"count that {self.compute_dtype} represents; {self.periods} repeat after {self.cycle}."
            )
        self.state_size = [self.units, 1]

    @property
    def learnable_states(self):
        return ("h",)

    @functools.cached_property
    def cycle(self):
        return math.lcm(*self.periods)

    @functools.cached_property
    def period_of_unit(self):
        return np.sort(np.resize(self.periods, self.units)).astype("int32")

    def heard_kernel(self):
        """The recurrent kernel, zero from each unit to the slower ones."""
        hears = self.period_of_unit[:, None] >= self.period_of_unit  # [from unit, to unit]
        kernel = ops.convert_to_tensor(self.recurrent_kernel)
        return kernel * ops.cast(hears, kernel.dtype)

    def recur(self, h, *gates, mask=None):
        return self.product(h, self.heard_kernel(), mask)

    def step(self, x, states, recur):
        h, t = states
        n = self.activation(x + recur(h))
        tick = ops.equal(ops.mod(ops.cast(t, "int32"), self.period_of_unit), 0)
        h = ops.where(tick, n, h)
        t = ops.mod(t + 1, self.cycle)
        return (h, t), {"n": n, "tick": ops.cast(tick, h.dtype)}
