"""A step repeated, what it gives kept: the loop of writing, on each of Keras' backends.

A step is a function `step(carry, given) -> (carry, emitted)` of nests of tensors, all with the batch as their
first axis. On TensorFlow the loop is part of the graph, so it can be compiled and exported; on JAX and
PyTorch it is a loop in Python.
"""

import keras
from keras import ops


def uniform(shape, seed, position):
    """Uniform numbers in [0, 1) that depend on the seed and the position in the text alone."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        pair = tf.stack([tf.cast(seed, "int64"), tf.cast(position, "int64")])
        return tf.random.stateless_uniform(shape, seed=pair)
    # Keras takes one whole number for a seed, not two.
    return keras.random.uniform(shape, seed=(int(seed) * 1_000_003 + int(position)) % 2**31)


def unfold(step, carry, length, is_done, given=lambda t: {}):
    """Repeat a step until `length` or until `is_done(carry)`, but once at least if `length` is not 0.

    Args:
        step: as above.
        carry: what the first step takes.
        length: how many steps at most, a whole number or an int32 scalar; 0 only for steps that emit nothing.
        is_done: function of a carry: whether all is written, a boolean scalar.
        given: function of the number of the step that gives what it takes beside the carry.

    Returns:
        The last carry, and what the steps emitted, with time as the first axis.
    """
    if keras.backend.backend() == "tensorflow":
        return _unfold_in_graph(step, carry, length, is_done, given)
    emitted = []
    for t in range(int(length)):
        if t and bool(is_done(carry)):
            break
        carry, now = step(carry, given(t))
        emitted.append(now)
    return carry, keras.tree.map_structure(lambda *each: ops.stack(each), *emitted) if emitted else {}


def _unfold_in_graph(step, carry, length, is_done, given):
    import tensorflow as tf

    # A dry step tells the dtypes and shapes of what is emitted; its values are not used, so it does not run.
    _, like = step(carry, given(0))
    start = keras.tree.flatten(carry)
    arrays = [
        tf.TensorArray(x.dtype, size=length, element_shape=[None, *x.shape[1:]])
        for x in keras.tree.flatten(like)
    ]

    def goes_on(t, flat, arrays):
        # what no step has emitted has no shape, so the first step is made even if all is done
        more = tf.logical_not(is_done(keras.tree.pack_sequence_as(carry, flat)))
        return tf.logical_and(t < length, tf.logical_or(t == 0, more))

    def body(t, flat, arrays):
        after, emitted = step(keras.tree.pack_sequence_as(carry, flat), given(t))
        arrays = [a.write(t, x) for a, x in zip(arrays, keras.tree.flatten(emitted), strict=True)]
        flat = [
            tf.ensure_shape(x, _any_batch(old))
            for x, old in zip(keras.tree.flatten(after), start, strict=True)
        ]
        return t + 1, flat, arrays

    t, flat, arrays = tf.while_loop(
        goes_on,
        body,
        (tf.constant(0), start, arrays),
        shape_invariants=(
            tf.TensorShape([]),
            [_any_batch(x) for x in start],
            [tf.TensorShape(None)] * len(arrays),
        ),
    )
    emitted = [array.gather(tf.range(t)) for array in arrays]
    return keras.tree.pack_sequence_as(carry, flat), keras.tree.pack_sequence_as(like, emitted)


def _any_batch(tensor):
    """The shape of a tensor with its first axis free."""
    import tensorflow as tf

    return tf.TensorShape([None, *tensor.shape[1:]])
