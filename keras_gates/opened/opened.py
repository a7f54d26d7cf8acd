"""A Keras model, opened up: its recurrent layers, and how to run it one step at a time.

All functions that inspect a model or run its steps take an `Opened`. The model's own layers run, so weights
are shared; nothing is copied.
"""

import functools
from dataclasses import dataclass, field

import keras

from keras_gates.layers.each_step import EachStep
from keras_gates.layers.pooling import pool_step_of
from keras_gates.opened.places import by_place, walk
from keras_gates.opened.steps import Steps
from keras_gates.opened.whole import NotStepwiseError, Whole, named_inputs


class UnreadableModelError(ValueError):
    """A model without recurrent layers."""


@dataclass(frozen=True)
class Opened:
    """A model whose recurrent layers are known, and which can run one step at a time over an input.

        opened = Opened(model, over="said")
        context = opened.context({"heard": heard})        # an encoder, a picture's features: once
        states = opened.initial_states(context)
        for said in tokens:
            outputs, states = opened.step({"said": said}, states, context)

    What does not depend on the input `over` is the context: it is computed once. The rest runs step by step,
    from its states and the context. When the steps are first requested, they are compared with the whole
    sequence, layer by layer, on random inputs. While a step or a context is computed, the loops of the
    model's layers are replaced: the model must not be used in another thread meanwhile.

    Open a model once and keep the `Opened`: each one that runs in steps calls the layers on new symbolic
    inputs, which the layers record.

    Args:
        model: a Keras model. To run in steps it must be functional, or `Sequential` with declared inputs;
            for any other model or layer only `recurrent` is available.
        over: the name of the input that is given step by step: the name of its `keras.Input`, or `"inputs"`
            for the only one. None for all inputs that are sequences.

    Attributes:
        recurrent: every `keras.layers.RNN` in the model by its place, such as `lstm`, `encoder/gru` or
            `bidirectional/forward`; a dict.

    Raises:
        TypeError: `model` is not a Keras model or layer.
        ValueError: `over` is not an input of the model.
        NotStepwiseError: with `over`: no output depends on it, or a layer reads steps other than the current
            one; the message names the layer.
    """

    model: keras.Layer
    over: str | None = None
    _places: tuple = field(init=False, repr=False)

    def __post_init__(self):
        if not isinstance(self.model, keras.Layer):
            kind = type(self.model).__name__
            raise TypeError(f"Expected a Keras model or layer; got {self.model!r} of type {kind}.")
        found = by_place(self.model, lambda layer: isinstance(layer, keras.layers.RNN))
        object.__setattr__(self, "_places", tuple(found.items()))
        if self.over is not None:
            _ = self.steps

    @property
    def recurrent(self):
        return dict(self._places)

    def check_recurrent(self):
        """Raise an UnreadableModelError if nothing in the model is recurrent."""
        if not self._places:
            kind = type(self.model).__name__
            raise UnreadableModelError(
                f"Nothing in {kind} {self.model.name!r} is recurrent: it holds no keras.layers.RNN."
            )

    @functools.cached_property
    def functional(self):
        """The model as a functional one; a `Sequential` is converted."""
        if not getattr(self.model, "inputs", None):
            raise NotStepwiseError(
                f"The model {self.model.name!r} does not declare its inputs: wrap it as "
                f"keras.Model(inputs, model(inputs)) with inputs = keras.Input(…)."
            )
        if isinstance(self.model, keras.Sequential):
            return keras.Model(self.model.inputs[0], self.model.outputs[0], name=self.model.name)
        return self.model

    @property
    def inputs(self):
        """The symbolic inputs by name: a single one is `inputs`, several have their names in the model."""
        return named_inputs(self.functional)

    @functools.cached_property
    def whole(self):
        """The model on whole sequences of any length, after its tokenizer: see `Whole`."""
        return Whole(self.functional, self.over)

    @functools.cached_property
    def steps(self):
        """The model split at its input `over`: see `Steps`."""
        # Layers inside `EachStep` see one step of the model at a time: they run and pool over other axes.
        inner = {
            id(layer) for _, each in walk(self.model) if isinstance(each, EachStep) for _, layer in walk(each)
        }
        poolings = by_place(self.model, lambda layer: pool_step_of(layer) is not None)
        return Steps(
            self.whole,
            {place: layer for place, layer in self.recurrent.items() if id(layer) not in inner},
            {place: layer for place, layer in poolings.items() if id(layer) not in inner},
        )

    def context(self, inputs=None):
        """What does not depend on the input `over`, masks included; to be computed once.

        Args:
            inputs: the other inputs of the model by name, whole; a dict of arrays or tensors.

        Returns:
            A flat dict of tensors by name, each with the batch as its first axis. It is empty for a model
            that has no other input.
        """
        return self.steps.context(inputs or {})

    def initial_states(self, context=None, batch_size=None):
        """The states before the first step, by name, each with the batch as its first axis.

        Args:
            context: what `context` returned; it determines the batch size, and those states that a layer is
                given as its `initial_state`.
            batch_size: the number of sequences, for a model without context.
        """
        return self.steps.initial_states(context or {}, batch_size)

    def step(self, inputs, states, context=None):
        """One step. It can be traced into a graph.

        Args:
            inputs: by name, one step of each input that is given step by step, `(batch, …)`; `tokens` where
                the input is a text that a `TextVectorization` reads first.
            states: by name, as `initial_states` or the previous step returned them. A missing state has its
                value before the first step.
            context: what `context` returned.

        Returns:
            The outputs of the step, a dict of tensors `(batch, …)` by name (a single one is `outputs`), of
            those outputs of the model that depend on `over`; and the states after the step.
        """
        outputs, made = self.steps.step(inputs, states, context or {})
        return outputs, made.after

    def trace_step(self, inputs, states, context=None):
        """`step` that also returns what the cells report: outputs, states, and the dict of gates.

        Gates are named by place and gate, such as `decoder_alignment`, the weights with which the cell of
        the layer `decoder` attended to the positions of its memory, `(batch, positions)`.
        """
        outputs, made = self.steps.step(inputs, states, context or {})
        return outputs, made.after, made.gates
