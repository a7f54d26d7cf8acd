"""Cells that wrap another cell and extend it."""

from typing import Any

import keras
from keras import ops

from keras_gates._arguments import Configured, Initializer, check_rate, resolve
from keras_gates.cells.base import DropoutRNNCell, register


def check_cell(argument, cell):
    """Return `cell` if it is one recurrent cell, or raise a TypeError that names the argument."""
    is_cell = isinstance(cell, keras.layers.Layer) and hasattr(cell, "state_size")
    if not is_cell or isinstance(cell, (keras.layers.RNN, keras.layers.StackedRNNCells)):
        raise TypeError(
            f"`{argument}` must be one recurrent cell, such as LSTMCell(64) "
            f"(for a stack, wrap each cell; for a layer, wrap its cell); got {cell!r}."
        )
    return cell


def call_cell_with_gates(cell, inputs, states, training):
    """One step of any cell: the output, the list of new states, and the dict of its gates.

    The cells of Keras do not return their gates: the dict is empty for them.
    """
    if hasattr(cell, "call_with_gates"):
        return cell.call_with_gates(inputs, states, training)
    output, new_states = cell(inputs, states, training=training)
    return output, list(new_states), {}


def sizes_of(cell):
    """The sizes of the states of any cell, as a list."""
    size = cell.state_size
    return list(size) if isinstance(size, (list, tuple)) else [size]


class WrapperCell(Configured, DropoutRNNCell, keras.layers.Layer):
    """Base of the cells that wrap another cell: by itself, it does what the wrapped cell does.

    It works wherever a cell does (`keras.layers.RNN`, `StackedRNNCells`, `Bidirectional`, another
    wrapper): states, initial states (learned ones too) and dropout masks (held over time) are those of
    the wrapped cell.
    A subclass overrides `call_with_gates`; one with states of its own appends them to `states`,
    `state_size` and `get_initial_state`.

    Args:
        cell: the wrapped cell: one of this package, of Keras, or of your own.
        **kwargs: of `keras.layers.Layer`. `dtype` is that of the wrapped cell by default.

    Call arguments:
        inputs: the inputs of one step, shape `(batch, features)`.
        states: the states before the step, a list of tensors of shape `(batch, size)`; for a cell with
            one state also the tensor itself.
        training: whether behaviour that is specific to training, such as dropout, applies.

    Returns:
        The output of the step, shape `(batch, output_size)`, and the states after it, as a list or a tensor
        like the given states.

    Raises:
        TypeError: `cell` is not a single recurrent cell.
    """

    def __init__(self, cell: keras.layers.Layer, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", check_cell("cell", cell).dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell

    def build(self, input_shape):
        if not self.cell.built:
            self.cell.build(input_shape)
        self.input_spec = self.cell.input_spec

    @property
    def states(self):
        """The names of the states, in order."""
        return getattr(self.cell, "states", tuple(f"state_{k}" for k, _ in enumerate(sizes_of(self.cell))))

    @property
    def state_size(self):
        return sizes_of(self.cell)

    @property
    def output_size(self):
        return getattr(self.cell, "output_size", sizes_of(self.cell)[0])

    def get_initial_state(self, batch_size=None):
        """The list of states before the first step."""
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, (list, tuple)) else [states]

    def call_with_gates(self, inputs, states, training=False):
        """Like `call`, and also returns the gates: the output, the list of new states, the dict of gates."""
        return call_cell_with_gates(self.cell, inputs, states, training)

    def call(self, inputs, states, training=False):
        listed = keras.tree.is_nested(states)
        output, new_states, _ = self.call_with_gates(inputs, states if listed else [states], training)
        return output, new_states if listed else new_states[0]

    # Keras draws the masks of a sequence from the outermost cell before its loop, and clears them after it.

    def get_dropout_mask(self, step_input):
        return self.cell.get_dropout_mask(step_input) if isinstance(self.cell, DropoutRNNCell) else None

    def get_recurrent_dropout_mask(self, step_input):
        return (
            self.cell.get_recurrent_dropout_mask(step_input)
            if isinstance(self.cell, DropoutRNNCell)
            else None
        )

    def reset_dropout_mask(self):
        if isinstance(self.cell, DropoutRNNCell):
            self.cell.reset_dropout_mask()

    def reset_recurrent_dropout_mask(self):
        if isinstance(self.cell, DropoutRNNCell):
            self.cell.reset_recurrent_dropout_mask()


@register()
class ResidualCell(WrapperCell):
    r"""A cell whose input is added to its output.

        y = cell(x) + x              project=False
        y = cell(x) + W x            project=True

    Its states are those of the wrapped cell; the input is not added to these. With `project`, W is the weight
    `projection`, shape `(features, output_size)`.

    Args:
        cell: the wrapped cell. Without `project`, its output must be as wide as its input.
        project: whether a trained matrix maps the input to the width of the output.
        projection_initializer: initializer of W.
        **kwargs: as in `WrapperCell`.

    Raises:
        ValueError: without `project`, the input and the output differ in width.
    """

    source = (
        "Wu et al. 2016, Google's neural machine translation system; He et al. 2016, Deep residual learning"
    )

    def __init__(
        self,
        cell: keras.layers.Layer,
        *,
        project: bool = False,
        projection_initializer: Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, **kwargs)
        self.project = project
        self.projection_initializer = resolve("projection_initializer", projection_initializer)

    def build(self, input_shape):
        super().build(input_shape)
        features = input_shape[-1]
        if self.project:
            self.projection = self.add_weight(
                shape=(features, self.output_size),
                name="projection",
                initializer=self.projection_initializer,
            )
        elif features != self.output_size:
            raise ValueError(
                f"{type(self).__name__} adds its input to its output, so both must have the same width; "
                f"the input has {features} features and {type(self.cell).__name__} gives {self.output_size}. "
                f"`project=True` adds a matrix that maps the input to the width of the output."
            )

    def call_with_gates(self, inputs, states, training=False):
        output, new_states, gates = super().call_with_gates(inputs, states, training)
        return output + self.added(inputs), new_states, gates

    def added(self, inputs):
        """What is added to the output: the inputs of a step, or of several, or their projection."""
        return ops.matmul(inputs, self.projection) if self.project else inputs


@register()
class ZoneoutCell(WrapperCell):
    r"""A cell whose units keep their previous state at random, each with a fixed probability.

        s' = d ⊙ s + (1 − d) ⊙ s'_cell        in training: d is one with probability z, drawn for
                                              each unit and each step
        s' = z s + (1 − z) s'_cell            at inference, its expectation

    for each state s. The output is the first state after zoneout; so this wrapper goes inside others:
    `ResidualCell(ZoneoutCell(cell))`.

    With the JAX backend, training without the fused kernels needs `RNN(…, unroll=True)`: there, a compiled
    loop cannot draw new values from Keras' seed generators in each step. The kernels get the draws of all
    steps at once, so that one seed gives other draws with them than without.

    Args:
        cell: the wrapped cell, not a wrapper itself.
        zoneout: z, in [0, 1): one rate for all states, or a dict of rates by the name of the state
            (the paper's for characters: `{"h": 0.05, "c": 0.5}`). One rate for all applies to the states
            whose initial value can be learned, so not to the clock of a `ClockworkCell`.
        seed: seed of the random draws.
        **kwargs: as in `WrapperCell`.

    Raises:
        TypeError: `cell` is not a single recurrent cell, or is a wrapper.
        ValueError: a rate is out of its range, or the cell has no state of that name.
    """

    source = "Krueger et al. 2017, Zoneout: Regularizing RNNs by randomly preserving hidden activations"

    def __init__(
        self,
        cell: keras.layers.Layer,
        *,
        zoneout: float | dict[str, float] = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cell, **kwargs)
        if isinstance(cell, WrapperCell):
            raise TypeError(
                f"`cell` of ZoneoutCell must be no wrapper, as its output must be its first state; "
                f"got {type(cell).__name__}. Apply zoneout to the cell inside it instead."
            )
        self.zoneout = zoneout
        self.rates = self._rates_by_state(zoneout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def _rates_by_state(self, zoneout):
        if not isinstance(zoneout, dict):
            zoneout = dict.fromkeys(getattr(self.cell, "learnable_states", self.states), zoneout)
        if not set(zoneout) <= set(self.states):
            raise ValueError(
                f"`zoneout` of {type(self.cell).__name__} must name some of its states, "
                f"{', '.join(self.states)}; got {', '.join(map(repr, zoneout))}."
            )
        return [check_rate("zoneout", zoneout.get(name, 0.0)) for name in self.states]

    def call_with_gates(self, inputs, states, training=False):
        _, new_states, gates = super().call_with_gates(inputs, states, training)
        zoned = [
            self._zone_out(old, new, rate, training) if rate else new
            for old, new, rate in zip(states, new_states, self.rates, strict=True)
        ]
        return zoned[0], zoned, gates

    def _zone_out(self, old, new, rate, training):
        if not training:
            return rate * old + (1 - rate) * new
        keep = keras.random.uniform(ops.shape(new), seed=self.seed_generator) < rate
        return ops.where(keep, old, new)
