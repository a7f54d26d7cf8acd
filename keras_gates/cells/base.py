"""GatedCell: everything that gated recurrent cells have in common, apart from their equations."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
from keras import ops

from keras_gates._arguments import (
    Activation,
    Configured,
    Constraint,
    Initializer,
    Regularizer,
    check_rate,
    check_size,
    fresh,
    resolve,
)
from keras_gates.cells.chrono import Chrono

PACKAGE = "keras_gates"


_CELLS: dict[str, type["GatedCell"]] = {}


_Class = TypeVar("_Class", bound=type)


def register(*names: str) -> Callable[[_Class], _Class]:
    """Make a class loadable by Keras and, given short names, list it in `keras_gates.cell_classes()`.

    Registered under the package name, so that `keras.saving.load_model` needs no custom objects
    once `keras_gates` is imported.
    """

    def enter(cls):
        for name in names:
            if name in _CELLS:
                raise ValueError(f"The cell name {name!r} is taken by {_CELLS[name].__name__}.")
            _CELLS[name] = cls
        return keras.saving.register_keras_serializable(package=PACKAGE)(cls)

    return enter


def check_units_alone_by_position(name: str, positional: Sequence[Any], named: dict[str, Any]) -> None:
    """Raise a TypeError unless `units` is given, and every other argument by name."""
    if len(positional) + ("units" in named) != 1:
        given = ", ".join(map(repr, positional)) or "nothing"
        raise TypeError(
            f"{name} takes `units` first and every other argument by name, as in "
            f"{name}(64, activation='tanh'); got {given}."
        )


def cell_classes() -> dict[str, type["GatedCell"]]:
    """All registered cells: a new dict from short name (which the experiments take) to class."""
    return dict(sorted(_CELLS.items(), key=lambda entry: entry[0].lower()))


def _find_dropout_protocol():
    """The class by which `keras.layers.RNN` recognises a cell whose dropout masks it must hold over time.

    Keras draws the masks of a sequence before its loop, and clears them after it, only for cells
    derived from this class, which it does not export. Every cell of Keras inherits it, so it is
    reached through one of them rather than by a private import path.
    `tests/test_keras_contract.py` says what to do when Keras moves it.
    """
    bases = [base for base in keras.layers.SimpleRNNCell.__mro__ if base.__name__ == "DropoutRNNCell"]
    if not bases:
        raise ImportError(
            f"keras_gates cannot hold dropout masks over time with Keras {keras.__version__}: "
            "keras.layers.SimpleRNNCell no longer derives from DropoutRNNCell."
        )
    return bases[0]


DropoutRNNCell: Any = _find_dropout_protocol()


class GatedCell(Configured, DropoutRNNCell, keras.layers.Layer):
    r"""Base class of all cells: weights, the two matrix products, dropout, initial states and config.

    A subclass declares

    - `gates`: the names of its pre-activations, in the order in which the kernels hold them;
    - `states`: the names of its states; the first is its output;
    - `remember`: the gate that keeps memory, whose bias starts at one (`unit_forget_bias`);
    - `without`: arguments of this base class that do not apply to it;
    - `source`: the paper its equations come from

    and implements `step`, its equations. Cells work in `keras.layers.RNN`,
    `keras.layers.StackedRNNCells` and `keras_gates.RNN`.

    Args:
        units: number of units, a positive integer.
        activation: φ, the activation of the candidate and the output.
        recurrent_activation: σ, the activation of the gates.
        use_bias: whether the pre-activations have a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: initializers of the weights.
        unit_forget_bias: whether the bias of the gate that keeps memory starts at one
            (Jozefowicz et al. 2015).
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties on the weights.
        kernel_constraint, recurrent_constraint, bias_constraint: projections of the weights.
        dropout: fraction of the input's features dropped in training, in [0, 1).
        recurrent_dropout: fraction of the recurrent state dropped in training on its way into the
            gates, in [0, 1). The masks of both are drawn once per sequence and held over time
            (Gal & Ghahramani 2016, A theoretically grounded application of dropout in recurrent neural
            networks).
        dropout_per_gate: whether each gate has its own masks, for the input and for the state (the paper's
            "untied weights"; Keras' LSTM and GRU with `recurrent_dropout` do so), or all gates share
            them (its "tied weights", the default). With it, dropout does not run in the fused kernels.
        learn_initial_state: whether the states before the first step are trainable (initially zero)
            rather than zero.
        seed: seed of the dropout masks.
        **kwargs: of `keras.layers.Layer`: `name`, `dtype`, `trainable`. Keras' `implementation` is accepted
            and has no effect.

    Call arguments:
        inputs: the inputs of one step, shape `(batch, features)`.
        states: the states before the step, a list of tensors of shape `(batch, units)`; for a cell with one
            state also the tensor itself.
        training: whether dropout applies.

    Returns:
        The output of the step, shape `(batch, units)`, and the states after it, as a list or a tensor like
        the given states.

    Raises:
        TypeError: `units` is not an integer, another argument is given by position, or an argument is one
            that does not apply to this cell.
        ValueError: an argument is unknown or out of its range, the inputs are not of rank 2, or the number
            or size of the states is wrong.
    """

    gates: tuple[str, ...] = ()
    states: tuple[str, ...] = ("h",)
    remember: str | None = None
    without: tuple[str, ...] = ()
    source: str = ""
    # Keras' cells draw the seed of their masks after those of their initializers, except for the simple cell.
    # The order matters under a global seed: in Keras' order, our initial weights equal those of Keras.
    draws_mask_seed_first: bool = False

    def __new__(cls, *args, **kwargs):
        check_units_alone_by_position(cls.__name__, args, kwargs)
        for name in cls.without:
            if name in kwargs:
                raise TypeError(f"{cls.__name__} takes no `{name}`: its equations do not use it.")
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        units: int,
        *,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dropout_per_gate: bool = False,
        learn_initial_state: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self.seed = seed
        if self.draws_mask_seed_first:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.units = check_size("units", units)
        self.activation = resolve("activation", activation)
        self.recurrent_activation = resolve("recurrent_activation", recurrent_activation)
        self.use_bias = use_bias
        self.kernel_initializer = resolve("kernel_initializer", kernel_initializer)
        self.recurrent_initializer = resolve("recurrent_initializer", recurrent_initializer)
        self.bias_initializer = resolve("bias_initializer", bias_initializer)
        self.unit_forget_bias = unit_forget_bias
        self.kernel_regularizer = resolve("kernel_regularizer", kernel_regularizer)
        self.recurrent_regularizer = resolve("recurrent_regularizer", recurrent_regularizer)
        self.bias_regularizer = resolve("bias_regularizer", bias_regularizer)
        self.kernel_constraint = resolve("kernel_constraint", kernel_constraint)
        self.recurrent_constraint = resolve("recurrent_constraint", recurrent_constraint)
        self.bias_constraint = resolve("bias_constraint", bias_constraint)
        self.dropout = check_rate("dropout", dropout)
        self.recurrent_dropout = check_rate("recurrent_dropout", recurrent_dropout)
        self.dropout_per_gate = dropout_per_gate
        if dropout_per_gate:
            self.dropout_mask_count = len(self.gates)  # the number of masks that Keras draws, in a list
        self.learn_initial_state = learn_initial_state
        if not self.draws_mask_seed_first:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = [self.units] * len(self.states)
        self.output_size = self.units

    # -- weights

    @classmethod
    def parameters_per_unit(cls, units: int, features: int) -> float:
        """Number of trainable parameters per unit, of a cell with `units` units and `features` inputs."""
        cell = cls(units)
        cell.build((None, features))
        return cell.count_params() / cell.units

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                f"{type(self).__name__} expects the inputs of one step, of shape (batch, features) with a "
                f"known number of features (so a whole sequence is (batch, time, features)); "
                f"got one step of shape {tuple(input_shape)}."
            )
        features = input_shape[-1]
        self.build_weights(features)
        if self.learn_initial_state:
            sizes = dict(zip(self.states, self.state_size, strict=True))
            self.initial_states = {
                name: self.add_weight(shape=(sizes[name],), name=f"initial_{name}", initializer="zeros")
                for name in self.learnable_states
            }
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: features})

    def build_weights(self, features):
        """Add the kernels, the bias and the cell's own weights."""
        self.kernel = self.add_weight_of_kind("kernel", "kernel", (features, self.units * len(self.gates)))
        self.recurrent_kernel = (
            self.add_weight_of_kind("recurrent", "recurrent_kernel", self.recurrent_shape)
            if self.recurrent_gates
            else None
        )
        self.bias = self._add_bias() if self.use_bias else None
        self.build_own(features)

    def build_own(self, features):
        """Add the cell's own weights, after the bias and before the learned initial states."""

    @property
    def recurrent_gates(self):
        """The gates that depend on the recurrent state, in the order of `recurrent_kernel`."""
        return self.gates

    @property
    def recurrent_shape(self):
        return (self.units, self.units * len(self.recurrent_gates))

    @property
    def learnable_states(self):
        """The states whose value before the first step can be learned."""
        return self.states

    @property
    def bias_shape(self):
        return (self.units * len(self.gates),)

    @property
    def timing(self):
        """The gates that decide how long a unit remembers: 1 for one that keeps, −1 for one that writes."""
        if self.remember is None:
            return {}
        return {self.remember: 1, **({"i": -1} if "i" in self.gates else {})}

    def add_weight_of_kind(self, kind, name, shape):
        """Add a weight with the initializer, regularizer and constraint of its kind.

        They are the arguments `{kind}_initializer`, `{kind}_regularizer` and `{kind}_constraint`; the kind
        is `kernel`, `recurrent` or one that a cell adds to these.
        """
        initializer = getattr(self, f"{kind}_initializer")
        return self.add_weight(
            shape=shape,
            name=name,
            # The kernels are initialised as in Keras' cells, also under a global seed.
            initializer=initializer if name in ("kernel", "recurrent_kernel") else fresh(initializer),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def _add_bias(self):
        return self.add_weight(
            shape=self.bias_shape,
            name="bias",
            initializer=self._initial_bias,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )

    def _initial_bias(self, shape, dtype=None):
        """As in Keras' LSTM: ones for the gate that keeps memory, one draw each for the parts around it."""
        if isinstance(self.bias_initializer, Chrono):
            return self.bias_initializer.of_cell(self, dtype)
        if self.remember is None or not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype=dtype)
        start = self.gates.index(self.remember) * self.units
        before, after = (start,), (shape[0] - start - self.units,)
        parts = [(before, self.bias_initializer), ((self.units,), keras.initializers.Ones())]
        parts.append((after, self.bias_initializer))
        return ops.concatenate([draw(part, dtype=dtype) for part, draw in parts if part[0]])

    # -- one step

    def project(self, inputs, mask=None):
        """W x + b for all gates, `(..., features)` to `(..., gates·units)`; the same at every step.

        Args:
            inputs: x, shape `(..., features)`.
            mask: the input dropout mask, from `get_dropout_mask`: one, or a list of one for each gate.
        """
        x = self.product(inputs, self.kernel, mask)
        return x if self.bias is None else x + self.bias

    def recur(self, h, *gates, mask=None):
        """U h for the named gates, which must be adjacent in kernel order, or for all of them.

        From `(batch, units)` to `(batch, gates·units)`. `mask` is the recurrent dropout mask, from
        `get_recurrent_dropout_mask`: one, or a list of one for each gate of the cell.
        """
        kernel = self.recurrent_kernel
        if gates:
            first = self.recurrent_gates.index(gates[0])
            kernel = kernel[:, first * self.units : (first + len(gates)) * self.units]
        if self.dropout_per_gate and mask is not None:
            named = dict(zip(self.gates, mask, strict=True))
            mask = [named[gate] for gate in gates or self.recurrent_gates]
        return self.product(h, kernel, mask)

    def product(self, inputs, kernel, mask=None):
        """The matrix product of the masked inputs with a kernel that has one block per gate.

        One product for all gates, unless each has its own mask: one product per gate takes about twice as
        long.
        """
        if mask is None:
            return ops.matmul(inputs, kernel)
        if not self.dropout_per_gate:
            return ops.matmul(inputs * mask, kernel)
        blocks = self.split(kernel)
        return ops.concatenate(
            [ops.matmul(inputs * own, block) for own, block in zip(mask, blocks, strict=True)], axis=-1
        )

    def split(self, a):
        """Split the last axis, `(..., gates·units)`, into one tensor `(..., units)` for each gate."""
        return ops.split(a, a.shape[-1] // self.units, axis=-1)

    def step(self, x, states, recur):
        """The equations of the cell.

        Args:
            x: `project(inputs)`, shape `(batch, gates·units)`.
            states: the states before the step, in the order of `self.states`.
            recur: `self.recur` with the sequence's dropout mask already applied.

        Returns:
            The tuple of states after the step, and a dict of the value of each gate, by name,
            each of shape `(batch, units)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `step`, its equations.")

    def advance(self, projected, states, training=False):
        """One step from projected inputs: the output, the list of new states, the dict of gates."""
        self.check_states(states)
        mask = self.get_recurrent_dropout_mask(states[0]) if training and self.recurrent_dropout else None
        new_states, gates = self.step(projected, tuple(states), functools.partial(self.recur, mask=mask))
        return new_states[0], list(new_states), gates

    def check_states(self, states):
        if len(states) != len(self.states):
            raise ValueError(
                f"{type(self).__name__} has {len(self.states)} state(s), {', '.join(self.states)}; "
                f"got {len(states)}."
            )
        for name, size, state in zip(self.states, self.state_size, states, strict=True):
            if state.shape[-1] != size:
                raise ValueError(
                    f"The state {name} of {type(self).__name__} must have the shape (batch, {size}); "
                    f"got {tuple(state.shape)}."
                )

    def call_with_gates(self, inputs, states, training=False):
        """Like `call`, and also returns the gates: the output, the list of new states, the dict of gates."""
        mask = self.get_dropout_mask(inputs) if training and self.dropout else None
        return self.advance(self.project(inputs, mask), states, training)

    def call(self, inputs, states, training=False):
        listed = keras.tree.is_nested(states)
        output, new_states, _ = self.call_with_gates(inputs, states if listed else [states], training)
        return output, new_states if listed else new_states[0]

    # -- between sequences

    def get_initial_state(self, batch_size=None):
        """The list of states before the first step: zeros, or the learned values."""
        zeros = [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self.state_size]
        if not self.learn_initial_state:
            return zeros
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} learns its initial state: build it before calling get_initial_state."
            )
        return [
            zero + ops.cast(self.initial_states[name], zero.dtype) if name in self.initial_states else zero
            for name, zero in zip(self.states, zeros, strict=True)
        ]
