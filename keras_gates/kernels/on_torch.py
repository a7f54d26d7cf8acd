"""The kernels under PyTorch: two operators that call the C interface on data pointers, their gradients."""

import contextlib
import ctypes
import functools
import json
import math

import torch
from torch import Tensor

from keras_gates.kernels import core, plain, signature

# Of the results, which depend on the backend: what Keras shows before the first step that is not masked.
ATTRIBUTES = {"show_initial_state": False}

_LARGE = 1 << 20  # bytes

library = core.library


def forward(attributes, inputs, training):
    """See `keras_gates.kernels.operation.run`."""
    given = list(inputs.values())
    keep_tape = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    chosen = {**attributes, **ATTRIBUTES, "keep_tape": keep_tape, "threads": torch.get_num_threads()}
    return _forward(*given, json.dumps(chosen))[:4]


@contextlib.contextmanager
def reference_scope():
    """Where the self-test computes what it expects."""
    with torch.device("cpu"), torch.enable_grad():
        yield


def vjp(function, primals, cotangents):
    """The list of results of `function(*primals)`, and the gradients of their sum weighted by cotangents."""
    with torch.enable_grad():
        # Each by itself, so that one that was computed from another does not pass its gradient on.
        given = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in primals]
        results = function(*given)
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if r.requires_grad]
        gradients = torch.autograd.grad(
            [result for result, _ in pairs], given, [cotangent for _, cotangent in pairs],
            create_graph=True, materialize_grads=True,
        )  # fmt: skip
    return results, list(gradients)


@functools.lru_cache(maxsize=256)
def _parsed(attributes):
    """Attributes from their JSON, and the options of a call."""
    parsed = json.loads(attributes)
    return parsed, library().options(parsed, _openmp())


@functools.cache
def _openmp():
    """The OpenMP runtime on whose threads PyTorch works; None if it works on others.

    The kernels work on them too: idle ones keep their cores busy for milliseconds, and other threads would
    have to share the cores with them.
    """
    return core.OpenMP.of(ctypes.CDLL(torch._C.__file__))


def _run(way, options, inputs, outputs):
    inputs = [tensor.contiguous() for tensor in inputs]
    given, wanted = ([(t.data_ptr(), t.shape) for t in tensors] for tensors in (inputs, outputs))
    library().run(way, options, given, wanted)
    return outputs


def _results(attributes, x, h, empty):
    """What the forward pass fills, made by `empty(shape)`."""
    shapes = library().output_shapes(_parsed(attributes)[0], x.shape[0], x.shape[1], h.shape[1])
    return tuple(empty(shape) for shape in shapes.values())


def _kept_empty(shape):
    """An uninitialised tensor; a large one, as the tape, in memory that the next step finds again."""
    size = 4 * math.prod(shape)
    if size < _LARGE:
        return torch.empty(shape)
    return torch.frombuffer(library().buffer(size), dtype=torch.float32).view(shape)


_Forward = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
_Backward = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op("keras_gates::forward", mutates_args=())
def _forward(
    x: Tensor, mask: Tensor, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor, vectors: Tensor,
    h: Tensor, c: Tensor, recurrent_mask: Tensor, keep: Tensor, attributes: str,
) -> _Forward:  # fmt: skip
    inputs = x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask, keep
    return _run("forward", _parsed(attributes)[1], inputs, _results(attributes, x, h, _kept_empty))


@_forward.register_fake
def _(x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask, keep, attributes):
    return _results(attributes, x, h, x.new_empty)


@torch.library.custom_op("keras_gates::backward", mutates_args=())
def _backward(
    x: Tensor, mask: Tensor, kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor, vectors: Tensor,
    h: Tensor, c: Tensor, recurrent_mask: Tensor, keep: Tensor,
    outputs: Tensor, gates: Tensor, memory: Tensor,
    d_outputs: Tensor, d_last: Tensor, d_h: Tensor, d_c: Tensor, attributes: str,
) -> _Backward:  # fmt: skip
    inputs = (
        x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask, keep,
        outputs, gates, memory, d_outputs, d_last, d_h, d_c,
    )  # fmt: skip
    gradients = tuple(torch.empty(t.shape) for t in (x, kernel, recurrent_kernel, bias, vectors, h, c))
    return _run("backward", _parsed(attributes)[1], inputs, gradients)


@_backward.register_fake
def _(x, mask, kernel, recurrent_kernel, bias, vectors, h, c, *_):
    return tuple(t.new_empty(t.shape) for t in (x, kernel, recurrent_kernel, bias, vectors, h, c))


def _keep_for_backward(ctx, inputs, output):
    *tensors, ctx.attributes = inputs
    outputs, *states, gates, memory = output
    ctx.mark_non_differentiable(gates, memory)
    # Else PyTorch would fill zeros as large as the tape.
    ctx.set_materialize_grads(False)
    ctx.shapes = [outputs.shape, *(state.shape for state in states)]
    ctx.save_for_backward(*tensors, outputs, gates, memory)


def _gradients_of_forward(ctx, *d_results):
    d_outputs, d_last, d_h, d_c = (
        torch.zeros(shape) if given is None else given
        for given, shape in zip(d_results[: len(ctx.shapes)], ctx.shapes, strict=True)
    )
    if not _parsed(ctx.attributes)[0]["return_sequences"]:
        d_outputs = d_last.new_empty((0,))
    d_x, d_kernel, d_recurrent_kernel, d_bias, d_vectors, d_h, d_c = _backward(
        *ctx.saved_tensors, d_outputs, d_last, d_h, d_c, ctx.attributes
    )
    return d_x, None, d_kernel, d_recurrent_kernel, d_bias, d_vectors, d_h, d_c, None, None, None


_forward.register_autograd(_gradients_of_forward, setup_context=_keep_for_backward)


def _keep_for_second(ctx, inputs, output):
    *tensors, ctx.attributes = inputs
    ctx.save_for_backward(*tensors)


def _gradients_of_backward(ctx, *d_gradients):
    """By the plain path, which is computed again and differentiated twice."""
    x, mask, *weights_and_states, recurrent_mask, keep = ctx.saved_tensors[: len(signature.INPUTS)]
    (d_x, *d_weights_and_states), of_d_results = plain.second_gradients(
        vjp, _parsed(ctx.attributes)[0], [x, *weights_and_states], mask, recurrent_mask, keep,
        ctx.saved_tensors[-len(signature.D_OUTPUTS) :], d_gradients,
    )  # fmt: skip
    return d_x, None, *d_weights_and_states, None, None, None, None, None, *of_d_results, None


_backward.register_autograd(_gradients_of_backward, setup_context=_keep_for_second)
