"""GatedCell: everything a gated recurrent cell is, apart from its equations."""

import functools

import keras
import numpy as np
from keras import ops

from keras_gates._arguments import Configured, check_rate, check_size, fresh, resolve

PACKAGE = "keras_gates"


_CELLS: dict[str, type["GatedCell"]] = {}


def register(*names):
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


def cell_classes():
    """Every cell of the package: a new dict from its short name (as the experiments take it) to its class."""
    return dict(sorted(_CELLS.items(), key=lambda entry: entry[0].lower()))


def _find_dropout_protocol():
    """The class by which stock `keras.layers.RNN` knows a cell whose dropout masks it must hold over time.

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


DropoutRNNCell = _find_dropout_protocol()


class GatedCell(Configured, DropoutRNNCell, keras.layers.Layer):
    r"""Base of every cell: weights, the two matrix products, dropout, initial states and config.

    A subclass declares

    - `gates`: the names of its pre-activations, in the order in which the kernels hold them;
    - `states`: the names of what it carries from step to step; its output is the first;
    - `remember`: the gate that keeps memory, whose bias starts at one (`unit_forget_bias`);
    - `without`: arguments of this base that mean nothing to it;
    - `source`: the paper its equations come from

    and writes `step`, which is its equations. Cells work in `keras.layers.RNN`,
    `keras.layers.StackedRNNCells` and `keras_gates.RNN`.

    Args:
        units: number of units, a positive integer.
        activation: the squashing φ of the candidate and the output.
        recurrent_activation: σ, the activation of the gates.
        use_bias: whether the pre-activations have a bias.
        kernel_initializer, recurrent_initializer, bias_initializer: how the weights start.
        unit_forget_bias: whether the bias of the gate that keeps memory starts at one
            (Jozefowicz et al. 2015).
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties on the weights.
        kernel_constraint, recurrent_constraint, bias_constraint: projections of the weights.
        dropout: fraction of the input's features dropped in training, in [0, 1).
        recurrent_dropout: fraction of the recurrent state dropped in training on its way into the
            gates, in [0, 1). Both masks are drawn once per sequence and held over time
            (Gal & Ghahramani 2016).
        learn_initial_state: whether the states before the first step are trained (from zero)
            rather than zero.
        seed: seed of the dropout masks.
        **kwargs: of `keras.layers.Layer`: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: the inputs of one step, shape `(batch, features)`.
        states: the states before the step, a list of tensors of shape `(batch, units)`.
        training: whether dropout applies.

    Returns:
        The output of the step, shape `(batch, units)`, and the list of states after it.

    Raises:
        TypeError: `units` is no integer, or an argument is unknown.
        ValueError: an argument is out of its range, the inputs are not of rank 2, or the number of
            states is wrong.
    """

    gates: tuple[str, ...] = ()
    states: tuple[str, ...] = ("h",)
    remember: str | None = None
    without: tuple[str, ...] = ()
    source: str = ""

    def __new__(cls, *args, **kwargs):
        for name in cls.without:
            if name in kwargs:
                raise TypeError(f"{cls.__name__} takes no `{name}`: its equations have no use for it.")
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        units,
        *,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        unit_forget_bias=True,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        learn_initial_state=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
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
        self.learn_initial_state = learn_initial_state
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.state_size = [self.units] * len(self.states)
        self.output_size = self.units

    # -- weights

    @classmethod
    def parameters_per_unit(cls, units, features):
        """How many trained numbers a unit costs, in a cell of so many units on inputs of so many features."""
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
        """Add the kernels, the bias and what is peculiar to a cell."""
        self.kernel = self.add_weight_of_kind("kernel", "kernel", (features, self.units * len(self.gates)))
        self.recurrent_kernel = (
            self.add_weight_of_kind("recurrent", "recurrent_kernel", self.recurrent_shape)
            if self.recurrent_gates
            else None
        )
        self.bias = self._add_bias() if self.use_bias else None
        self.build_own(features)

    def build_own(self, features):
        """Add the weights peculiar to a cell, between the bias and the learned initial states."""

    @property
    def recurrent_gates(self):
        """The gates that hear the recurrent state, in the order of `recurrent_kernel`."""
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

    def add_weight_of_kind(self, kind, name, shape):
        """Add a weight that starts, is penalised and is held as the arguments say for its kind.

        The arguments are `{kind}_initializer`, `{kind}_regularizer` and `{kind}_constraint`, the kind
        being `kernel`, `recurrent` or what a cell adds to these.
        """
        return self.add_weight(
            shape=shape,
            name=name,
            initializer=fresh(getattr(self, f"{kind}_initializer")),
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
        bias = self.bias_initializer(shape, dtype=dtype)
        if self.remember is None or not self.unit_forget_bias:
            return bias
        remembers = np.repeat([gate == self.remember for gate in self.gates], self.units)
        return ops.where(remembers, ops.ones_like(bias), bias)

    # -- one step

    def project(self, inputs):
        """W x + b for all gates: `(..., features)` to `(..., gates·units)`. It knows no time."""
        x = ops.matmul(inputs, self.kernel)
        return x if self.bias is None else x + self.bias

    def recur(self, h, *gates, mask=None):
        """U h for the named gates, neighbours in kernel order, or for all of them.

        From `(batch, units)` to `(batch, gates·units)`. One product for all, since a product for each
        gate takes about twice as long. `mask` drops units of h.
        """
        kernel = self.recurrent_kernel
        if gates:
            first = self.recurrent_gates.index(gates[0])
            kernel = kernel[:, first * self.units : (first + len(gates)) * self.units]
        return ops.matmul(h if mask is None else h * mask, kernel)

    def split(self, a):
        """Cut what stands side by side for several gates into one `(batch, units)` tensor for each."""
        return ops.split(a, a.shape[-1] // self.units, axis=-1)

    def step(self, x, states, recur):
        """The equations of the cell.

        Args:
            x: `project(inputs)`, shape `(batch, gates·units)`.
            states: the states before the step, in the order of `self.states`.
            recur: `self.recur` with the sequence's dropout mask in place.

        Returns:
            The tuple of states after the step, and a dict of what each gate was, by name,
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
                f"{type(self).__name__} carries {len(self.states)} state(s), {', '.join(self.states)}; "
                f"got {len(states)}."
            )
        for name, size, state in zip(self.states, self.state_size, states, strict=True):
            if state.shape[-1] != size:
                raise ValueError(
                    f"The state {name} of {type(self).__name__} must have the shape (batch, {size}); "
                    f"got {tuple(state.shape)}."
                )

    def call_with_gates(self, inputs, states, training=False):
        """`call` that also says what each gate was: the output, the list of new states, the dict of gates."""
        if training and self.dropout:
            inputs = inputs * self.get_dropout_mask(inputs)
        return self.advance(self.project(inputs), states, training)

    def call(self, inputs, states, training=False):
        output, new_states, _ = self.call_with_gates(inputs, states, training)
        return output, new_states

    # -- between sequences

    def get_initial_state(self, batch_size=None):
        """The list of states before the first step: zeros, or what was learned."""
        zeros = [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self.state_size]
        if not self.learn_initial_state:
            return zeros
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} learns its initial state: build it before asking for that state."
            )
        return [
            zero + ops.cast(self.initial_states[name], zero.dtype) if name in self.initial_states else zero
            for name, zero in zip(self.states, zeros, strict=True)
        ]
