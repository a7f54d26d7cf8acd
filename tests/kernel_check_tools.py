"""Helpers that the scripts of checks on JAX and on PyTorch share."""

import contextlib
import functools
import logging
import os
import traceback

# Two devices for JAX, which reads this when it is first asked for one.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"

import keras
from kernel_problems import assert_close, random_layer

import keras_gates
from keras_gates.kernels import operation

BACKEND = keras.backend.backend()
CHECKS, ONLY = {}, {}  # by name: a function, and the only backend that has it


def check(name, *arguments, only=None):
    def enter(function):
        CHECKS[name], ONLY[name] = functools.partial(function, *arguments), only
        return function

    return enter


@contextlib.contextmanager
def counted():
    """A list that grows by one with every call of the kernels."""
    calls, run = [], operation.run
    operation.run = lambda *given: calls.append(given) or run(*given)
    try:
        yield calls
    finally:
        operation.run = run


@contextlib.contextmanager
def logged():
    """A list of the messages that the package logs."""
    said, log, handler = [], logging.getLogger("keras_gates"), logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log.addHandler(handler)
    try:
        yield said
    finally:
        log.removeHandler(handler)


def answers(layer, x, states, mask, cotangents, twice=False):
    """Results and the gradients of their weighted sum, by name; or the gradients of a function of those."""
    find = {"jax": answers_of_jax, "torch": answers_of_torch}[BACKEND]
    results, gradients = find(layer, x, states, mask, cotangents, twice)
    return {f"{k}": keras.ops.convert_to_numpy(value) for k, value in enumerate([*results, *gradients])}


def variables_of(layer):
    """The values of the trained variables, and of the others."""
    return ([v.value for v in vs] for vs in (layer.trainable_variables, layer.non_trainable_variables))


def answers_of_jax(layer, x, states, mask, cotangents, twice):
    import jax

    trained, others = variables_of(layer)

    def loss(x, states, trained):
        x = x.astype(layer.compute_dtype)  # as `__call__` would
        results, _ = layer.stateless_call(
            trained, others, x, initial_state=list(states), mask=mask, training=True
        )
        return sum((r * c).sum() for r, c in zip(results, cotangents, strict=True)), results

    def of_gradients(*given):
        gradients, _ = jax.grad(loss, (0, 1, 2), has_aux=True)(*given)
        return sum(jax.numpy.sin(g).sum() for g in jax.tree.leaves(gradients)), ()

    mask = None if mask is None else jax.numpy.asarray(mask)
    function = jax.jit(jax.grad(of_gradients if twice else loss, (0, 1, 2), has_aux=True))
    gradients, results = function(*jax.tree.map(jax.numpy.asarray, (x, states)), trained)
    return results, jax.tree.leaves(gradients)


def answers_of_torch(layer, x, states, mask, cotangents, twice):
    import torch

    x, *states = (torch.tensor(a, requires_grad=True) for a in (x, *states))
    sources = [x, *states, *(v.value for v in layer.trainable_variables)]
    mask = None if mask is None else torch.tensor(mask.copy())
    results = layer(x, initial_state=states, mask=mask, training=True)
    total = sum((r * torch.tensor(c)).sum() for r, c in zip(results, cotangents, strict=True))
    differentiate = functools.partial(torch.autograd.grad, inputs=sources, materialize_grads=True)
    gradients = differentiate(total, create_graph=twice)
    if twice:
        results, gradients = [], differentiate(sum(torch.sin(g).sum() for g in gradients))
    return [r.detach() for r in results], gradients


def compare(make, problem, twice=False, **arguments):
    """Kernels beside the plain path, from the same weights and random seeds."""
    found = []
    for when in ("always", "never"):
        layer, question = random_layer(make, problem, **arguments)
        with keras_gates.use_kernels(when), counted() as calls:
            found.append(answers(layer, *question, twice))
        assert bool(calls) == (when == "always")
    assert_close(*found)


def outcome(function):
    try:
        function()
    except Exception:
        return traceback.format_exc()
    return ""
