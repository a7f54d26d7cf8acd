"""The recurrent part that the models of all tasks share."""

import inspect

import keras

import keras_gates
from experiments.common.cells import plain_name
from experiments.common.errors import InputError
from experiments.common.options import whole

POOLINGS = ("mean", "max", "attention", "last")
HARD = {"sigmoid": "hard_sigmoid", "tanh": "hard_tanh"}


def recurrent_pool(sequence, options):
    """`recurrent_stack`, pooled to one vector for each sequence: (batch, time, features) to (batch, width).

    `options.pool` says how: "last" is the output of the last step, the others pool those of all steps.
    """
    if options.pool == "last":
        return recurrent_stack(sequence, options, return_sequences=False)
    pooling = {
        "mean": keras_gates.MeanPooling,
        "max": keras_gates.MaxPooling,
        "attention": keras_gates.AttentionPooling,
    }[options.pool]
    return pooling(name=options.pool)(recurrent_stack(sequence, options))


def recurrent_stack(sequence, options, return_sequences=True, residual=False):
    """`options.layers` recurrent layers of `options.cell` on top of each other.

    sequence: (batch, time, features). Returns (batch, time, width), or without `return_sequences`
    (batch, width), where width is `options.units`, twice that when `options.bidirectional`.
    Dropout comes before every layer. With `residual`, every layer adds its input to its output, through a
    matrix where the widths differ, as they always do between bidirectional layers.
    """
    cell_class = keras_gates.cell_classes()[options.cell]
    # a task may have neither this option nor those of both directions and of long memory
    weight_dropout = getattr(options, "weight_dropout", 0.0)
    for level in range(1, options.layers + 1):
        last = level == options.layers
        name = f"{plain_name(options.cell)}_{level}"
        cell = cell_class(options.units, **_biases(options), **_hard(cell_class, options))
        if weight_dropout and not cell.recurrent_gates:
            raise InputError(
                f"--weight-dropout: the cell {options.cell} has no recurrent matrix to drop from."
            )
        if getattr(options, "remember", None) and not cell.timing:
            raise InputError(f"--remember: the cell {options.cell} has no gate that keeps its memory.")
        if residual:
            cell = keras_gates.ResidualCell(cell, project=sequence.shape[-1] != options.units)
        layer = keras_gates.RNN(
            cell, return_sequences=return_sequences or not last, weight_dropout=weight_dropout, name=name
        )
        if getattr(options, "bidirectional", False):
            layer = keras.layers.Bidirectional(layer, name=f"both_ways_{level}")
        sequence = layer(keras.layers.Dropout(options.dropout)(sequence))
    return sequence


def _biases(options):
    """The argument of a cell by which its units remember for as long as `options.remember` says."""
    longest = getattr(options, "remember", None)
    return {"bias_initializer": keras_gates.Chrono(longest, options.seed)} if longest else {}


def _hard(cell_class, options):
    """The arguments of a cell by which `options.hard` replaces each sigmoid and tanh by its hard form."""
    if not getattr(options, "hard", False):
        return {}
    defaults = {name: each.default for name, each in inspect.signature(cell_class).parameters.items()}
    chosen = {
        name: HARD[function]
        for name, function in defaults.items()
        if isinstance(function, str) and function in HARD
    }
    if not chosen:
        raise InputError(f"--hard: the cell {options.cell} takes neither a sigmoid nor a tanh as argument.")
    return chosen


def add_remember(group):
    """Add the option --remember to a group of a parser."""
    group.add_argument(
        "--remember",
        metavar="STEPS",
        type=whole(3),
        help="let the units start with memories of up to so many steps (chrono initialization)",
    )
