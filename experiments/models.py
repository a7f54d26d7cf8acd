"""The recurrent part that the models of all tasks share."""

import keras

import keras_gates


def recurrent_stack(sequence, options, return_sequences=True):
    """`options.layers` recurrent layers of `options.cell` on top of each other.

    sequence: (batch, time, features). Returns (batch, time, width), or without `return_sequences`
    (batch, width), where width is `options.units`, twice that when `options.bidirectional`.
    Dropout comes before every layer.
    """
    cell_class = keras_gates.cells()[options.cell]
    for level in range(1, options.layers + 1):
        last = level == options.layers
        name = f"{options.cell}_{level}".replace("-", "_")
        layer = keras_gates.RNN(
            cell_class(options.units), return_sequences=return_sequences or not last, name=name
        )
        if options.bidirectional:
            layer = keras.layers.Bidirectional(layer, name=f"both_ways_{level}")
        sequence = layer(keras.layers.Dropout(options.dropout)(sequence))
    return sequence
