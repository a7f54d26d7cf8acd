"""Training on several devices: each holds all weights, and reads a part of every batch.

Loss and gradient are those of the whole batch, whatever its parts: the loss sees the outputs of all devices,
so that a mean over examples, steps or weights is over all of them, and the gradients are added before they
are clipped. So a run differs from one on a single device by rounding only, unless the network draws random
numbers, as dropout does: each device draws for its own part.
"""

import contextlib
import functools

import keras
import tensorflow as tf

from experiments.common.errors import InputError


def spread_over(number):
    """A context in which models are made that train on so many devices: GPUs if there are any, else CPUs.

    Raises `InputError` if there are too few.
    """
    if number == 1:
        return contextlib.nullcontext()
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        _divide_cpu(number)
    devices = tf.config.list_logical_devices(kind)
    if len(devices) < number:
        raise InputError(f"--devices {number}: TensorFlow has {len(devices)} devices of the kind {kind}.")
    return _mirrored(tuple(device.name for device in devices[:number])).scope()


@functools.cache
def _mirrored(names):
    """The strategy of these devices: two of them in a process would number their exchanges alike."""
    return tf.distribute.MirroredStrategy(list(names))


def _divide_cpu(number):
    (cpu,) = tf.config.list_physical_devices("CPU")
    # TensorFlow has begun to compute, and the devices are as they are
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)


def check_can_spread(model, number):
    """Raise `InputError` if a model carries states from batch to batch, of which a device has a part."""
    if number > 1 and any(getattr(layer, "stateful", False) for layer in model.layers):
        raise InputError(f"--devices {number}: this network carries its state from batch to batch; use 1.")


def optimizer_of_whole_batch(optimizer):
    """An optimizer like this one that clips the gradient of the whole batch: Keras clips each device's part.

    Of what Keras can clip by, it knows `clipnorm`.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return optimizer
    kind = type(optimizer)
    config = optimizer.get_config()
    spread = type(kind.__name__, (_Spread, kind), {}).from_config({**config, "clipnorm": None})
    spread.bound = config["clipnorm"]
    return spread


class _Spread:
    """Gives Keras, which adds the gradients of all devices, such as add up to the clipped gradient."""

    def apply(self, grads, trainable_variables=None):
        context = tf.distribute.get_replica_context()
        super().apply([_clipped(context, gradient, self.bound) for gradient in grads], trainable_variables)


def _clipped(context, gradient, bound):
    if gradient is None or bound is None:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        # the slices of all devices are put together, each once: only their norm is needed here
        square = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(tf.square(gradient.values)))
        shrunk = gradient.values * (bound / tf.maximum(tf.sqrt(square), bound))
        return tf.IndexedSlices(shrunk, gradient.indices, gradient.dense_shape)
    mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradient)
    return tf.clip_by_norm(mean, bound / context.num_replicas_in_sync)


def build_for_fit(model, batches):
    """Make the variables of a compiled model's loss and metrics, as `fit` does with one device.

    With several, Keras' `fit` and `evaluate` make them by adding up the parts of the first batch, which fails
    if these have not all as many rows, and leaves that batch out of an endless dataset. So this takes that
    step from them, by the name that it has in Keras 3.12 to 3.15.

    batches: of (inputs, targets) or (inputs, targets, weights), whose method `once` gives them as a dataset;
        of the first, only shapes are used.
    """
    if model.distribute_strategy.num_replicas_in_sync > 1:
        model._maybe_symbolic_build(data_batch=next(iter(batches.once())))
        model._maybe_symbolic_build = lambda **_: None


def predict_on_batch(model, inputs):
    """`model.predict_on_batch`, also of a model that trains on several devices.

    Of such a model Keras gives the answers of every device for the whole batch, one after the other.
    """
    rows = len(keras.tree.flatten(inputs)[0])
    return keras.tree.map_structure(lambda answers: answers[:rows], model.predict_on_batch(inputs))


def loss_of_whole_batch(loss):
    """A loss like this one, which is a mean, for the outputs of all devices together."""
    return loss if tf.distribute.get_strategy().num_replicas_in_sync == 1 else _Gathered(loss)


class _Gathered(keras.losses.Loss):
    """A loss that is computed by every device for the whole batch.

    Keras divides a mean by the number of devices, since it adds their gradients.
    """

    def __init__(self, loss):
        super().__init__(name=loss.name)
        self.loss = loss

    def __call__(self, y_true, y_pred, sample_weight=None):
        context = tf.distribute.get_replica_context()
        if context is None:  # Keras asks for the shapes, on no device
            return self.loss(y_true, y_pred, sample_weight)
        mask = _gathered(context, getattr(y_pred, "_keras_mask", None))
        y_true, y_pred, sample_weight = (_gathered(context, part) for part in (y_true, y_pred, sample_weight))
        if mask is not None:
            y_pred._keras_mask = mask
        return self.loss(y_true, y_pred, sample_weight)


def _gathered(context, part):
    """The parts of all devices, row after row; None of None."""
    if part is None:
        return None
    # of integers, those of 4 and 8 bytes alone can be gathered
    narrow = part.dtype.size < 4 and not part.dtype.is_floating
    whole = context.all_gather(tf.cast(part, tf.int32) if narrow else part, axis=0)
    return tf.ensure_shape(tf.cast(whole, part.dtype), [None, *part.shape[1:]])
