"""gradient_flow: how much of the loss's gradient arrives at every state of every step."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gates.introspect.recording import recording
from keras_gates.introspect.tracing import Pass, opened_on, run_pass, with_masks


def gradient_flow(
    model: keras.layers.Layer,
    inputs: Any,
    targets: Any,
    loss: str | keras.Loss | Callable[..., Any] | None = None,
    mask: Any = None,
    full: bool = False,
) -> dict[str, dict[str, np.ndarray]]:
    """The gradient of the loss with respect to every state of every recurrent layer at every step.

    The states of a step are what it passes to the next one (h_t is the output as well), each an independent
    variable: ∂loss/∂c_t is the effect of a perturbation of the memory alone, through the following steps, and
    ∂loss/∂h_t that of a perturbation of the output alone, at this step and later. So the two paths back
    through time, through the memory and through the gates, are distinguished. The gradient is computed by
    adding a zero to every state and differentiating with respect to the zeros; the model runs in inference
    mode, and no variable changes.

    Compiled on the first call and reused for the same model and loss; the last four are kept.

    Args:
        model: a built Keras model or layer.
        inputs: as the model takes them, `(batch, time, …)`.
        targets: as the loss takes them.
        loss: a Keras loss, its name, or a function of targets and outputs, averaged over what it returns;
            by default the loss with which the model was compiled.
        mask: which steps count, `(batch, time)`, as the model's own `mask` argument.
        full: whether to give the gradients themselves rather than their norms.

    Returns:
        `{layer: {state: array}}`, layers and states named as by `trace`: the Euclidean norm over the units,
        shape `(batch, time)`, or with `full` the gradient, `(batch, time, units)`. A loss that is a mean over
        the batch divides each sequence's gradient by the batch size. Masked steps are NaN.

    Raises:
        TypeError: `model` is not a Keras model or layer.
        ValueError: nothing in it is recurrent, or it has no loss and none was given.
    """
    if loss is None and not getattr(model, "compiled", False):
        raise ValueError(
            f"{type(model).__name__} {model.name!r} was not compiled with a loss: give one, such as 'mse'."
        )
    compiled_with = tuple(keras.tree.flatten(model.loss)) if loss is None else None
    differentiator = _differentiator(opened_on(model, inputs), loss, compiled_with)
    flow = run_pass(differentiator, inputs, mask, targets=targets)
    return flow if full else keras.tree.map_structure(_norm, flow)


def _norm(gradient):
    return np.linalg.norm(gradient, axis=-1)


@functools.lru_cache(maxsize=4)
def _differentiator(opened, loss, compiled_with):
    return Differentiator(opened, loss)


class Differentiator(Pass):
    def __init__(self, opened, loss):
        super().__init__(opened)
        self.loss_function = None if loss is None else keras.losses.get(loss)

    def call(self, arguments):
        targets = arguments.pop("targets")

        def loss_of(nudges):
            with recording(self.recurrent, nudges):
                outputs = self.run(**arguments)
            return self._loss(arguments["inputs"], targets, outputs)

        with recording(self.recurrent) as records:
            self.run(**arguments)
        zeros = {
            place: [[ops.zeros_like(state) for state in reading["states"]] for reading in record.readings]
            for place, record in records.items()
        }
        gradients = gradients_of(loss_of, zeros)
        return with_masks(
            {place: (record, record.states_by_name(gradients[place])) for place, record in records.items()}
        )

    def _loss(self, inputs, targets, outputs):
        if self.loss_function is None:
            return self.model.compute_loss(x=inputs, y=targets, y_pred=outputs)
        return ops.mean(self.loss_function(targets, outputs))


def gradients_of(function, arguments):
    """The gradient of a scalar function of a nest of tensors, nested in the same way, by Keras' backend."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.grad(function)(arguments)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            leaves = [tensor.requires_grad_() for tensor in keras.tree.flatten(arguments)]
            gradients = torch.autograd.grad(function(arguments), leaves, materialize_grads=True)
        return keras.tree.pack_sequence_as(arguments, gradients)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(arguments)
            value = function(arguments)
        return tape.gradient(value, arguments, unconnected_gradients="zero")
    raise NotImplementedError(f"Keras' {backend} backend has no gradients; gradient_flow needs another.")
