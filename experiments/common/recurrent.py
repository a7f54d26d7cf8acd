"""The recurrent part that the models of all tasks share."""

import keras
from keras import ops

import keras_gates
from keras_gates.layers.pooling import running_max, running_mean

POOLINGS = ("mean", "max", "attention", "last")


@keras.saving.register_keras_serializable(package="experiments")
class AtLeastOneStep(keras.layers.Layer):
    """Ids (batch, time), with a step of padding where there is none: a text may hold no word at all."""

    def call(self, ids):
        missing = ops.maximum(1 - ops.shape(ids)[1], 0)
        return ops.concatenate([ids, ops.zeros((ops.shape(ids)[0], missing), ids.dtype)], axis=1)

    def compute_output_spec(self, ids):
        return keras.KerasTensor((ids.shape[0], None), ids.dtype)


class MaskedPooling(keras.layers.Layer):
    """Every feature in one number over the steps that count: (batch, time, width) to (batch, width).

    Zero where none counts. Keras' own layers give NaN there, or let padding count.
    """

    supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return None


@keras.saving.register_keras_serializable(package="experiments")
class MaskedMeanPooling(MaskedPooling):
    def call(self, inputs, mask=None):
        if mask is None:
            return ops.mean(inputs, axis=1)
        counts = ops.cast(mask, inputs.dtype)[..., None]
        return ops.sum(inputs * counts, axis=1) / ops.maximum(ops.sum(counts, axis=1), 1)

    def running(self, inputs, before, mask):
        return running_mean(inputs, before, mask)


@keras.saving.register_keras_serializable(package="experiments")
class MaskedMaxPooling(MaskedPooling):
    def call(self, inputs, mask=None):
        if mask is None:
            return ops.max(inputs, axis=1)
        largest = ops.max(ops.where(mask[..., None], inputs, -float("inf")), axis=1)
        return ops.where(ops.any(mask, axis=1)[:, None], largest, 0)

    def running(self, inputs, before, mask):
        return running_max(inputs, before, mask)


def recurrent_pool(sequence, options):
    """`recurrent_stack` as one vector for each sequence: (batch, time, features) to (batch, width).

    `options.pool` says how: "last" is the output of the last step, the others look at all of them.
    """
    if options.pool == "last":
        return recurrent_stack(sequence, options, return_sequences=False)
    pooling = {
        "mean": MaskedMeanPooling,
        "max": MaskedMaxPooling,
        "attention": keras_gates.AttentionPooling,
    }[options.pool]
    return pooling(name=options.pool)(recurrent_stack(sequence, options))


def recurrent_stack(sequence, options, return_sequences=True, residual=False):
    """`options.layers` recurrent layers of `options.cell` on top of each other.

    sequence: (batch, time, features). Returns (batch, time, width), or without `return_sequences`
    (batch, width), where width is `options.units`, twice that when `options.bidirectional`.
    Dropout comes before every layer. With `residual`, every layer adds its input to its output, through a
    matrix where the widths differ, as they always do between layers that read both ways.
    """
    cell_class = keras_gates.cell_classes()[options.cell]
    for level in range(1, options.layers + 1):
        last = level == options.layers
        name = f"{options.cell}_{level}".replace("-", "_")
        cell = cell_class(options.units)
        if residual:
            cell = keras_gates.ResidualCell(cell, project=sequence.shape[-1] != options.units)
        layer = keras_gates.RNN(cell, return_sequences=return_sequences or not last, name=name)
        if options.bidirectional:
            layer = keras.layers.Bidirectional(layer, name=f"both_ways_{level}")
        sequence = layer(keras.layers.Dropout(options.dropout)(sequence))
    return sequence
