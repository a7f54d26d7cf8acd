"""Long short-term memory and its closest variants."""

from collections.abc import Iterable
from typing import Any, Literal

from keras import ops

from keras_gates._arguments import Activation, Constraint, Initializer, Regularizer, check_choice, resolve
from keras_gates.cells.base import GatedCell, register


@register("lstm", "NP")
class LSTMCell(GatedCell):
    r"""Long short-term memory with a forget gate.

        i = σ(W_i x + U_i h + b_i)        f, o likewise
        g = φ(W_g x + U_g h + b_g)
        c' = f ⊙ c + i ⊙ g
        h' = o ⊙ φ(c')

    The weights are those of `keras.layers.LSTMCell`. Arguments as in `GatedCell`.
    """

    gates, states, remember = ("i", "f", "g", "o"), ("h", "c"), "f"
    source = "Hochreiter & Schmidhuber 1997, Long short-term memory; Gers et al. 2000, Learning to forget"

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        h, c = states
        i, f, g, o = self.split(x + recur(h))
        i = sigma(i)
        f = sigma(f)
        g = phi(g)
        c = f * c + i * g
        o = sigma(o)
        h = o * phi(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o}


@register("peephole", "V")
class PeepholeLSTMCell(LSTMCell):
    r"""LSTM whose gates see the memory.

        i = σ(W_i x + U_i h + p_i ⊙ c + b_i)        f likewise
        g = φ(W_g x + U_g h + b_g)
        c' = f ⊙ c + i ⊙ g
        o = σ(W_o x + U_o h + p_o ⊙ c' + b_o)       the output gate sees the new memory
        h' = o ⊙ φ(c')

    Args:
        peepholes: which gates see the memory, any subset of i, f, o; by default all that the cell has.
        peephole: `"diagonal"`, a unit's gates see its own memory (p is a vector), or `"full"`, every
            memory: P c with a square matrix, σ(W·[c, h, x] + b) in the concatenated form of Olah 2015.
        output_peephole: whether the output gate sees the `"current"` memory c' or the `"previous"` c.
        peephole_initializer, peephole_regularizer, peephole_constraint: for the peephole weights
            `peephole_i`, `peephole_f`, `peephole_o`, of shape `(units,)` or `(units, units)`. Zeros
            by default: the cell starts as an `LSTMCell` and learns how much its gates see.
        units, **kwargs: as in `GatedCell`.
    """

    source = (
        "Gers & Schmidhuber 2000, Recurrent nets that time and count; Gers, Schraudolph & Schmidhuber 2002"
    )

    def __init__(
        self,
        units: int,
        *,
        peepholes: Iterable[str] | None = None,
        peephole: Literal["diagonal", "full"] = "diagonal",
        output_peephole: Literal["current", "previous"] = "current",
        peephole_initializer: Initializer = "zeros",
        peephole_regularizer: Regularizer = None,
        peephole_constraint: Constraint = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.peepholes = self._in_kernel_order(peepholes)
        self.peephole = check_choice("peephole", peephole, ("diagonal", "full"))
        self.output_peephole = check_choice("output_peephole", output_peephole, ("current", "previous"))
        self.peephole_initializer = resolve("peephole_initializer", peephole_initializer)
        self.peephole_regularizer = resolve("peephole_regularizer", peephole_regularizer)
        self.peephole_constraint = resolve("peephole_constraint", peephole_constraint)

    def _in_kernel_order(self, peepholes):
        possible = tuple(gate for gate in self.gates if gate in ("i", "f", "o"))
        if peepholes is None:
            return possible
        if not isinstance(peepholes, Iterable) or not set(peepholes) <= set(possible):
            raise ValueError(
                f"`peepholes` of {type(self).__name__} must be some of {', '.join(map(repr, possible))}; "
                f"got {peepholes!r}."
            )
        return tuple(gate for gate in possible if gate in peepholes)

    def build_own(self, features):
        self.peephole_weights = {
            gate: self.add_weight_of_kind(
                "peephole",
                f"peephole_{gate}",
                (self.units,) if self.peephole == "diagonal" else (self.units, self.units),
            )
            for gate in self.peepholes
        }

    def gate(self, name, a, memory):
        """σ(a + p ⊙ memory), or σ(a + P memory); ones for a gate that the cell does not have."""
        if name not in self.gates:
            return ops.ones_like(memory)
        if name not in self.peepholes:
            return self.recurrent_activation(a[name])
        p = self.peephole_weights[name]
        seen = p * memory if self.peephole == "diagonal" else self.product(memory, p)
        return self.recurrent_activation(a[name] + seen)

    def squash_candidate(self, g):
        """φ of the candidate, before it is added to the memory."""
        return self.activation(g)

    def squash_memory(self, c):
        """φ of the memory, before the output gate."""
        return self.activation(c)

    def step(self, x, states, recur):
        h, c_before = states
        a = dict(zip(self.gates, self.split(x + recur(h)), strict=True))
        i = self.gate("i", a, c_before)
        f = self.gate("f", a, c_before)
        g = self.squash_candidate(a["g"])
        c = f * c_before + i * g
        o = self.gate("o", a, c if self.output_peephole == "current" else c_before)
        h = o * self.squash_memory(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o}


@register("peephole-only")
class PeepholeOnlyLSTMCell(LSTMCell):
    r"""LSTM in which the output never enters a gate: all of them see the whole memory instead.

        i = σ(W_i x + U_i c + b_i)        f, o likewise
        g = φ(W_g x + b_g)                no recurrence
        c' = f ⊙ c + i ⊙ g
        h' = φ_h(o ⊙ c')

    The recurrent kernel has the shape `(units, 3·units)`, for i, f and o.

    Args:
        output_activation: φ_h, tanh or linear.
        units, **kwargs: as in `GatedCell`.
    """

    source = "the peephole form of LSTM in which h enters no gate"

    def __init__(self, units: int, *, output_activation: Activation = "tanh", **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.output_activation = resolve("output_activation", output_activation)

    @property
    def recurrent_gates(self):
        return ("i", "f", "o")

    @property
    def learnable_states(self):
        return ("c",)

    def step(self, x, states, recur):
        sigma, phi = self.recurrent_activation, self.activation
        _, c = states
        i, f, g, o = self.split(x)
        i_c, f_c, o_c = self.split(recur(c))
        i = sigma(i + i_c)
        f = sigma(f + f_c)
        g = phi(g)
        c = f * c + i * g
        o = sigma(o + o_c)
        h = self.output_activation(o * c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o}


@register("coupled")
class CoupledLSTMCell(PeepholeLSTMCell):
    r"""LSTM that writes exactly as much as it forgets: coupled input and forget gates (CIFG).

        f = σ(W_f x + U_f h + b_f)        o likewise
        g = φ(W_g x + U_g h + b_g)
        c' = f ⊙ c + (1 − f) ⊙ g
        h' = o ⊙ φ(c')

    With `peepholes`, f sees c and o sees c' as in `PeepholeLSTMCell`. A trace has i = 1 − f as well.

    Args:
        peepholes: which gates see the memory, any subset of f, o; none by default.
        units, **kwargs: as in `PeepholeLSTMCell`.
    """

    gates = ("f", "g", "o")
    source = "Greff et al. 2017, LSTM: A search space odyssey"

    def __init__(self, units: int, *, peepholes: Iterable[str] | None = (), **kwargs: Any) -> None:
        super().__init__(units, peepholes=peepholes, **kwargs)

    def step(self, x, states, recur):
        h, c_before = states
        a = dict(zip(self.gates, self.split(x + recur(h)), strict=True))
        f = self.gate("f", a, c_before)
        i = 1 - f
        g = self.squash_candidate(a["g"])
        c = f * c_before + i * g
        o = self.gate("o", a, c if self.output_peephole == "current" else c_before)
        h = o * self.squash_memory(c)
        return (h, c), {"i": i, "f": f, "g": g, "o": o}
