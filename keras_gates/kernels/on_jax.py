"""The kernels under JAX: two calls of foreign functions, their gradients.

Where a device is not a CPU, the passes are loops instead (`loop_jax`), and nothing is built.
"""

import contextlib
import ctypes
import functools

import jax
import numpy as np

from keras_gates.kernels import build, core, loop_jax, partition_jax, placement, plain, signature

# Of the results, which depend on the backend: what Keras shows before the first step that is not masked.
ATTRIBUTES = {"show_initial_state": True}
# JAX refuses to export a function that holds such a call, and its message gives this name.
_TARGET = "keras_gates_kernel.Call_keras_gates.use_kernels_never_before_exporting"


def part():
    """What to build. It names no `interface`: XLA registers a door that fits, and refuses another."""
    return build.Part(
        "jax",
        [build.SOURCES / "doors" / "jax.cc"],
        includes=[jax.ffi.include_dir()],
        about=[jax.__version__],
    )


@functools.cache
def library():
    """Registers the calls, where they may be used. Raises a `BuildError` if there are none."""
    if placement.is_beside_gpu():
        return None
    from keras_gates.kernels import selftest

    def load_and_test(path):
        loaded = load(path)
        selftest.check(run_arrays, selftest.FEW)
        return loaded

    core.library()
    return build.load(part(), load_and_test, load)


def load(path):
    """Registers the calls of a door. Raises an `OSError` if it is none, or XLA refuses it."""
    loaded = ctypes.CDLL(str(path))
    try:
        ways = {way: getattr(loaded, f"keras_gates_jax_{way}") for way in ("forward", "backward")}
    except AttributeError as error:
        raise OSError("it has no kernels") from error
    try:
        for way, function in ways.items():
            jax.ffi.register_ffi_target(f"{_TARGET}.{way}", jax.ffi.pycapsule(function), platform="cpu")
    except jax.errors.JaxRuntimeError as error:
        raise OSError(str(error)) from error
    return loaded


def forward(attributes, inputs, training):
    """See `keras_gates.kernels.operation.run`."""
    # A tape is kept where JAX differentiates, so `training` does not matter.
    chosen = {**attributes, **ATTRIBUTES, "keep_tape": False, "threads": 0}
    chosen["as_loop"] = placement.is_beside_gpu()
    return _forward(tuple(chosen.items()), *inputs.values())[:4]


def run_arrays(way, attributes, inputs):
    """A pass over NumPy arrays, by name, for the self-test: what it gives, by name."""
    given, wanted = _NAMES[way]
    results = _CALLS[way](attributes, *(jax.numpy.asarray(inputs[name]) for name in given))
    return {name: np.asarray(result) for name, result in zip(wanted, results, strict=True)}


@contextlib.contextmanager
def reference_scope():
    """Where the self-test computes what it expects: compiling all that takes longer than computing it."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def vjp(function, primals, cotangents):
    """The list of results of `function(*primals)`, and the gradients of their sum weighted by cotangents."""
    results, gradients_of = jax.vjp(function, *primals)
    return results, list(gradients_of(list(cotangents)))


def _call(way, attributes, inputs, shapes):
    options = np.frombuffer(bytes(core.library().options(attributes)), "int32")
    results = [
        jax.ShapeDtypeStruct(
            shape, "float32", sharding=partition_jax.sharding_in_type(name, len(shape), inputs[0])
        )
        for name, shape in zip(_NAMES[way][1], shapes, strict=True)
    ]
    return tuple(jax.ffi.ffi_call(f"{_TARGET}.{way}", results)(*inputs, options=options))


def _call_forward(attributes, *inputs):
    x, h = inputs[0], inputs[signature.INPUTS.index("h")]
    shapes = core.library().output_shapes(attributes, *x.shape[:2], h.shape[1])
    return _call("forward", attributes, inputs, shapes.values())


def _call_backward(attributes, *inputs):
    return _call("backward", attributes, inputs, [inputs[k].shape for k in _PLACES])


_CALLS = {"forward": _call_forward, "backward": _call_backward}
_LOOPS = {"forward": loop_jax.forward, "backward": loop_jax.backward}
# What they take and what they give.
_NAMES = {
    "forward": (signature.INPUTS, signature.OUTPUTS),
    "backward": (signature.BACKWARD_INPUTS, [f"d_{name}" for name in signature.DIFFERENTIATED]),
}


@functools.lru_cache(maxsize=256)
def _pass(way, attributes):
    """A pass with these attributes as a function of its inputs, also of those that devices share."""
    attributes = dict(attributes)
    if attributes["as_loop"]:
        return jax.jit(functools.partial(_LOOPS[way], attributes))
    run = functools.partial(_CALLS[way], attributes)
    return jax.jit(partition_jax.over_rows(run, *_NAMES[way]))


# Where the inputs that have gradients stand among all.
_PLACES = [signature.INPUTS.index(name) for name in signature.DIFFERENTIATED]


def _placed(gradients, others=0):
    """Gradients of all inputs: None for the masks, and for so many inputs that follow."""
    placed = [None] * (len(signature.INPUTS) + others)
    for place, gradient in zip(_PLACES, gradients, strict=True):
        placed[place] = gradient
    return placed


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward(attributes, *inputs):
    return _pass("forward", attributes)(*inputs)


def _forward_with_tape(attributes, *inputs):
    # By the same operation, so that what is differentiated twice finds its gradient.
    results = _forward(tuple({**dict(attributes), "keep_tape": True}.items()), *inputs)
    tape = [results[signature.OUTPUTS.index(name)] for name in signature.FROM_FORWARD]
    return results, (inputs, tape)


def _gradients_of_forward(attributes, kept, d_results):
    inputs, tape = kept
    d_outputs, *d_others = d_results[: len(signature.D_OUTPUTS)]
    if not dict(attributes)["return_sequences"]:
        d_outputs = jax.numpy.zeros((0,))
    return tuple(_placed(_backward(attributes, *inputs, *tape, d_outputs, *d_others)))


_forward.defvjp(_forward_with_tape, _gradients_of_forward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _backward(attributes, *inputs):
    return _pass("backward", attributes)(*inputs)


def _backward_and_inputs(attributes, *inputs):
    return _backward(attributes, *inputs), inputs


def _gradients_of_backward(attributes, inputs, d_gradients):
    x, mask, *weights_and_states, recurrent_mask, keep = inputs[: len(signature.INPUTS)]
    of_primals, of_d_results = plain.second_gradients(
        vjp, dict(attributes), [x, *weights_and_states], mask, recurrent_mask, keep,
        inputs[-len(signature.D_OUTPUTS) :], d_gradients,
    )  # fmt: skip
    return (*_placed(of_primals, others=len(signature.FROM_FORWARD)), *of_d_results)


_backward.defvjp(_backward_and_inputs, _gradients_of_backward)
