"""The kernels under TensorFlow: two operations, their gradients."""

import contextlib
import functools

import tensorflow as tf

from keras_gates.kernels import build, core, placement_tensorflow, plain, signature
from keras_gates.kernels.cells import DEFAULTS

_ATTRIBUTES = (
    "cell", *DEFAULTS, "keep_tape", "return_sequences", "go_backwards", "zero_output_for_mask",
    "bfloat16_products", "threads",
)  # fmt: skip
# Of the results, which depend on the backend: what Keras shows before the first step that is not masked.
ATTRIBUTES = {"show_initial_state": False}
# XLA refuses a function that was traced with kernels, and its message names the nodes: so the name says what
# to do.
_NODE_NAME = "fused_kernel.For_XLA_call_keras_gates.use_kernels_never_before_tracing"
_COMMON_INPUTS = len(signature.INPUTS) + 1  # and the guard


def part():
    """What to build."""
    return build.Part(
        "tensorflow",
        [build.SOURCES / "doors" / "tensorflow.cc"],
        includes=[tf.sysconfig.get_include()],
        link_flags=tf.sysconfig.get_link_flags(),
        about=[tf.version.VERSION, tf.version.GIT_VERSION],
        # The C interface for operations may change from one minor version to the next, and does not say so.
        interface=tf.version.VERSION.split(".")[:2],
    )


@functools.cache
def library():
    """The module of the two operations. Raises a `BuildError` if there are none."""
    from keras_gates.kernels import selftest

    def load(path):
        try:
            loaded = tf.load_op_library(str(path))
        except tf.errors.OpError as error:
            raise OSError(str(error)) from error
        if not hasattr(loaded, "keras_gates_backward"):
            raise OSError("it has no kernels")
        return loaded

    def load_and_test(path):
        loaded = load(path)
        selftest.check(functools.partial(run_arrays, loaded), selftest.FEW)
        return loaded

    with tf.init_scope():  # outside of any function that may be being traced
        core.library()
        return build.load(part(), load_and_test, load)


@functools.cache
def guard():
    """An input of every kernel, so that no function that contains one is saved or converted.

    TensorFlow would save the operations, and the result would load only where they are registered. It refuses
    to save a function that captures a variant which no saved object owns. To convert a function, it reads the
    values that the function captures: reading this one raises an error that says what to do.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        value = tf.raw_ops.OptionalNone()
    value.numpy = _refuse_conversion
    return value


def _refuse_conversion():
    raise ValueError(f"Unable to convert this function: {placement_tensorflow.UNSAVEABLE}")


def forward(attributes, inputs, training):
    """See `keras_gates.kernels.operation.run`."""
    placement_tensorflow.forbid_saving()
    x, h = inputs["x"], inputs["h"]
    attributes = {**attributes, "keep_tape": bool(training)}
    result = library().keras_gates_forward(
        *inputs.values(),
        guard=guard(),
        threads=tf.config.threading.get_intra_op_parallelism_threads(),
        name=_NODE_NAME,
        **attributes,
    )
    for state in (result.last, result.h_out):
        state.set_shape(h.shape)
    memories = inputs["c"].shape[1] if inputs["c"].shape.rank == 2 else 0
    result.c_out.set_shape((h.shape[0], memories))
    if attributes["return_sequences"]:
        width = h.shape[1] * (1 + attributes["shows_memory"])
        result.outputs.set_shape((x.shape[0], x.shape[1], width))
    return result.outputs, result.last, result.h_out, result.c_out


def run_arrays(loaded, way, attributes, inputs):
    """A pass over NumPy arrays, by name, for the self-test: what it gives, by name."""
    function = getattr(loaded, f"keras_gates_{way}")
    given = {name: tf.constant(array) for name, array in inputs.items()}
    chosen = {name: attributes[name] for name in _ATTRIBUTES}
    return {name: x.numpy() for name, x in function(guard=guard(), **given, **chosen)._asdict().items()}


@contextlib.contextmanager
def reference_scope():
    """Where the self-test computes what it expects."""
    with tf.device("CPU:0"):
        yield


def vjp(function, primals, cotangents):
    """The list of results of `function(*primals)`, and the gradients of their sum weighted by cotangents."""
    with tf.GradientTape() as tape:
        tape.watch(primals)
        results = function(*primals)
    return results, tape.gradient(results, primals, cotangents, unconnected_gradients="zero")


@tf.RegisterGradient("KerasGates>Forward")
def _gradient(op, d_outputs, d_last, d_h, d_c, *_):
    inputs = op.inputs[:_COMMON_INPUTS]
    attributes = _attributes(op)
    outputs, *_, gates, memory = op.outputs
    if not attributes["keep_tape"]:
        # Run as inference but differentiated nevertheless: run it again, with the tape.
        attributes["keep_tape"] = True
        again = library().keras_gates_forward(*inputs, name=_NODE_NAME, **attributes)
        outputs, gates, memory = again.outputs, again.gates, again.memory
    gradients = library().keras_gates_backward(
        *inputs,
        outputs=outputs,
        gates=gates,
        memory=memory,
        d_outputs=d_outputs if attributes["return_sequences"] else tf.zeros((0,)),
        d_last=d_last,
        d_h_out=d_h,
        d_c_out=d_c,
        name=_NODE_NAME,
        **attributes,
    )
    return [
        gradients.d_x, None, gradients.d_kernel, gradients.d_recurrent_kernel, gradients.d_bias,
        gradients.d_vectors, gradients.d_h, gradients.d_c, None, None, None,
    ]  # fmt: skip


@tf.RegisterGradient("KerasGates>Backward")
def _second_gradient(op, *d_gradients):
    x, mask, *weights_and_states, recurrent_mask, keep, _ = op.inputs[:_COMMON_INPUTS]
    d_results = op.inputs[_COMMON_INPUTS + len(signature.FROM_FORWARD) :]
    of_primals, of_d_results = plain.second_gradients(
        vjp, _attributes(op), [x, *weights_and_states], mask, recurrent_mask, keep, d_results, d_gradients
    )
    d_x, *d_weights_and_states = of_primals
    return [d_x, None, *d_weights_and_states, None, None, None, None, None, None, *of_d_results]


def _attributes(op):
    found = {name: op.get_attr(name) for name in _ATTRIBUTES}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
