"""The two TensorFlow operations: how they are called, and their gradients."""

import functools
import logging

import tensorflow as tf

from keras_gates.kernels import build, placement, plain
from keras_gates.kernels.cells import DEFAULTS, weights_of

_log = logging.getLogger("keras_gates")

_ATTRIBUTES = (
    "cell", *DEFAULTS, "keep_tape", "return_sequences", "go_backwards", "zero_output_for_mask", "threads",
)  # fmt: skip
# XLA refuses a function that was traced with kernels, and its message names the nodes: so the name says what
# to do.
_NODE_NAME = "fused_kernel.For_XLA_call_keras_gates.use_kernels_never_before_tracing"
_COMMON_INPUTS = 10  # x, mask, kernel, recurrent_kernel, bias, vectors, h, c, recurrent_mask, guard


@functools.cache
def available():
    """Whether the kernels are available; builds them if necessary, and logs the reason if they are not."""
    try:
        # Outside of any function that may be being traced.
        with tf.init_scope():
            library()
    except build.BuildError as error:
        _log.warning("keras_gates runs without its fused kernels: %s", error)
        return False
    return True


@functools.cache
def library():
    """The module of the two operations. Raises a `BuildError` if there are none."""
    from keras_gates.kernels import selftest

    def load(path):
        loaded = tf.load_op_library(str(path))
        if not hasattr(loaded, "keras_gates_backward"):
            raise OSError("it has no kernels")
        return loaded

    def load_and_test(path):
        loaded = load(path)
        selftest.check(loaded, guard())
        return loaded

    return build.load(load_and_test, load)


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
    raise ValueError(f"Unable to convert this function: {placement.UNSAVEABLE}")


def run(description, layer, sequences, initial_state, mask, training):
    """See `keras_gates.kernels.fused_loop`."""
    cell = layer.cell
    plain.remember(cell, description)
    x = tf.convert_to_tensor(sequences)
    recurrent_mask = None
    if training and cell.dropout:
        x = x * tf.expand_dims(cell.get_dropout_mask(x[:, 0]), 1)
    if training and cell.recurrent_dropout:
        recurrent_mask = cell.get_recurrent_dropout_mask(initial_state[0])
    absent, memories = tf.zeros((0,)), initial_state[1:]
    result = library().keras_gates_forward(
        x=x,
        mask=tf.zeros((0,), "bool") if mask is None else tf.cast(mask, "bool"),
        **weights_of(cell, description),
        h=initial_state[0],
        c=tf.concat(memories, axis=1) if memories else absent,
        recurrent_mask=absent if recurrent_mask is None else recurrent_mask,
        guard=guard(),
        keep_tape=bool(training),
        return_sequences=layer.return_sequences,
        go_backwards=layer.go_backwards,
        zero_output_for_mask=bool(layer.zero_output_for_mask),
        threads=tf.config.threading.get_intra_op_parallelism_threads(),
        name=_NODE_NAME,
        **description,
    )
    state_shape = (x.shape[0], cell.units)
    states = [result.h_out, *(tf.split(result.c_out, len(memories), axis=1) if memories else [])]
    for state in (result.last, *states):
        state.set_shape(state_shape)
    if not layer.return_sequences:
        return result.last, tf.expand_dims(result.last, 1), states
    result.outputs.set_shape((x.shape[0], x.shape[1], cell.units))
    return result.last, result.outputs, states


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
        gradients.d_vectors, gradients.d_h, gradients.d_c, None, None,
    ]  # fmt: skip


@tf.RegisterGradient("KerasGates>Backward")
def _second_gradient(op, *d_gradients):
    """By the plain path, which is computed again and differentiated twice.

    The tape of the forward pass is a function of the other inputs, so it gets no gradient of its own.
    """
    x, mask, *weights_and_states, recurrent_mask, _ = op.inputs[:_COMMON_INPUTS]
    primal, d_results = [x, *weights_and_states], op.inputs[_COMMON_INPUTS + 3 :]
    with tf.GradientTape() as second:
        second.watch([*primal, *d_results])
        with tf.GradientTape() as first:
            first.watch(primal)
            results = plain.forward(_attributes(op), x, mask, *weights_and_states, recurrent_mask)
        gradients = first.gradient(results, primal, d_results, unconnected_gradients="zero")
    of_primal, of_d_results = tf.nest.pack_sequence_as(
        (primal, d_results),
        second.gradient(gradients, [*primal, *d_results], d_gradients, unconnected_gradients="zero"),
    )
    d_x, *d_weights_and_states = of_primal
    return [d_x, None, *d_weights_and_states, None, None, None, None, None, *of_d_results]


def _attributes(op):
    found = {name: op.get_attr(name) for name in _ATTRIBUTES}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
