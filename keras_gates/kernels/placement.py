"""Where the kernels may be used: on a CPU, and not in what is compiled or exported for elsewhere.

Under JAX beside a GPU, loops take their place, and those may be used anywhere.
"""

import functools

import keras


def allows_kernels(layer, sequences, mask, stays_here):
    """Whether the code being run, or the function being traced, may contain the kernels.

    Args:
        layer: a `keras_gates.RNN`.
        sequences: its input.
        mask: None or of shape `(batch, time)`.
        stays_here: whether a function being traced is certainly not meant for export, because it trains
            or the user says so.
    """
    allows = _ALLOWS.get(keras.backend.backend())
    return allows is not None and allows(layer, sequences, mask, stays_here)


def _on_tensorflow(layer, sequences, mask, stays_here):
    from keras_gates.kernels import placement_tensorflow

    return placement_tensorflow.allows_kernels(stays_here)


def _on_jax(layer, sequences, mask, stays_here):
    """Keras traces the steps of `predict` as one would for an export: nothing tells the two apart."""
    import jax

    if layer.unroll and mask is not None:
        return False  # there, Keras shows something else in masked steps than in a loop
    return is_beside_gpu() or stays_here or not isinstance(sequences, jax.core.Tracer)


@functools.cache
def is_beside_gpu():
    """Whether the backend is JAX, and has a device that is not a CPU."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return any(device.platform != "cpu" for device in jax.devices())


def _on_torch(layer, sequences, mask, stays_here):
    """Not under `torch.compile`, in an export or within `torch.func`: those transform Keras' own loop."""
    import torch

    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:  # PyTorch has no public way to ask
        return False
    return type(sequences) in (torch.Tensor, torch.nn.Parameter) and sequences.device.type == "cpu"


_ALLOWS = {"tensorflow": _on_tensorflow, "jax": _on_jax, "torch": _on_torch}
