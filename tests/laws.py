"""The cells under test, one row each: all it takes for a cell to be held to every law and certificate.

A row says what the design says of a cell, not what the cell says of itself. The laws stand in `test_laws.py`,
the certificates in `test_oracles.py`; both run over this table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import keras
import oracles
from problem import BATCH, FEATURES, UNITS, random_problem

import keras_gates


@dataclass(frozen=True, eq=False)
class Row:
    """One cell with one choice of its options.

    name: how it reads in a test's id.
    make: the cell's constructor with these options.
    states: names of the states, the output first.
    weights: their shapes by name, in order.
    oracle: the NumPy transcription with the same options, ``oracle(x, states, weights)``.
    source: what was transcribed.
    certified_by: names in `external.IMPLEMENTATIONS`.
    hold: gates to force open (1) or shut (0) so that the state `memory` is carried bit for bit.
    clear: gates to force so that after two steps nothing is left of the states before.
    unread: states whose value the cell never reads.
    every_law: false for further options of a cell whose plumbing another row tests already.
    """

    name: str
    make: Callable
    states: tuple
    weights: Mapping
    oracle: Callable
    source: str
    certified_by: tuple = ()
    hold: Mapping | None = None
    clear: Mapping | None = None
    memory: str = "h"
    unread: tuple = ()
    every_law: bool = True

    def __str__(self):
        return self.name

    def cell(self, **arguments):
        return self.make(UNITS, **arguments)

    def takes(self, argument):
        """Whether the cell has a use for an argument of the base."""
        return argument not in getattr(self.cell(), "without", ())

    def problem(self, mask="none", go_backwards=False, seed=0):
        states = dict.fromkeys(self.states, (BATCH, UNITS))
        return random_problem(self.weights, states, mask, go_backwards, seed)

    def layer(self, rnn=keras_gates.RNN, return_sequences=True, return_state=True, arguments=None, **of_rnn):
        """A layer of this cell with the weights of `problem`; ``arguments`` are the cell's."""
        layer = rnn(
            self.cell(**arguments or {}),
            return_sequences=return_sequences,
            return_state=return_state,
            **of_rnn,
        )
        layer.build((BATCH, None, FEATURES))
        set_weights(layer.cell, self.problem().weights)
        return layer


def set_weights(cell, values):
    """Assign weights by name; learned initial states, which have no value here, keep theirs."""
    for weight in cell.trainable_weights:
        if weight.name in values:
            weight.assign(values[weight.name])


def shapes(gates, bias=None, heard=None, **own):
    """Weights of a cell with so many gates, of which so many hear the recurrent state."""
    columns = len(gates) * UNITS
    return {
        "kernel": (FEATURES, columns),
        "recurrent_kernel": (UNITS, len(heard or gates) * UNITS),
        "bias": bias or (columns,),
        **own,
    }


def peepholes(gates, shape=(UNITS,)):
    return {f"peephole_{gate}": shape for gate in gates}


HOLD_LSTM, CLEAR_LSTM = {"f": 1, "i": 0}, {"f": 0, "i": 0}


def lstm_with_peepholes(gates, full=False, previous=False):
    """The row of a `PeepholeLSTMCell`."""
    form, seen = "full" if full else "diagonal", "previous" if previous else "current"
    plain = not (full or previous)
    names = [gates or "no", *(["full"] if full else []), *(["previous"] if previous else [])]
    return Row(
        f"PeepholeLSTM({' '.join(names)})",
        partial(keras_gates.PeepholeLSTMCell, peepholes=tuple(gates), peephole=form, output_peephole=seen),
        ("h", "c"),
        shapes("ifgo", **peepholes(gates, (UNITS, UNITS) if full else (UNITS,))),
        partial(oracles.peephole, output_peephole=seen),
        "Olah 2015" if full else "Gers & Schmidhuber 2000",
        (("tf.raw_ops.BlockLSTMV2",) if gates == "ifo" and plain else ())
        + (("onnxruntime LSTM",) if plain else ()),
        HOLD_LSTM,
        CLEAR_LSTM,
        "c",
        every_law=gates == "ifo" and plain,
    )


def coupled_with_peepholes(gates):
    """The row of a `CoupledLSTMCell`."""
    return Row(
        f"CoupledLSTM({gates})" if gates else "CoupledLSTM",
        partial(keras_gates.CoupledLSTMCell, peepholes=tuple(gates)),
        ("h", "c"),
        shapes("fgo", **peepholes(gates)),
        oracles.coupled,
        "Greff et al. 2017",
        ("onnxruntime LSTM(input_forget=1)",),
        {"f": 1},
        {"f": 0, "o": 0},
        "c",
        every_law=not gates,
    )


def gated_recurrent_unit(after, update):
    """The row of a `GRUCell`."""
    keep = update == "keep"
    others = ("keras.layers.GRU", "onnxruntime GRU(linear_before_reset=1)", "torch.nn.GRU")
    if not after:
        others = ("keras.layers.GRU(reset_after=False)", "onnxruntime GRU(linear_before_reset=0)")
    return Row(
        f"GRU(reset {'after' if after else 'before'} {update})",
        partial(keras_gates.GRUCell, reset_after=after, update=update),
        ("h",),
        shapes("urn", (2, 3 * UNITS) if after else None),
        partial(oracles.gru, reset_after=after, update=update),
        "Cho et al. 2014" if keep else "Chung et al. 2014",
        others if keep else (),
        {"u": int(keep)},
        {"u": int(not keep), "r": 0},
        every_law=keep,
    )


ROWS = (
    Row(
        "SimpleRNN",
        keras_gates.SimpleRNNCell,
        ("h",),
        shapes("n"),
        oracles.simple,
        "Elman 1990",
        ("keras.layers.SimpleRNN", "onnxruntime RNN", "torch.nn.RNN"),
    ),
    Row(
        "LSTM",
        keras_gates.LSTMCell,
        ("h", "c"),
        shapes("ifgo"),
        oracles.lstm,
        "Hochreiter & Schmidhuber 1997",
        ("keras.layers.LSTM", "onnxruntime LSTM", "torch.nn.LSTM"),
        HOLD_LSTM,
        CLEAR_LSTM,
        "c",
    ),
    *(lstm_with_peepholes(gates) for gates in ("ifo", "if", "io", "fo", "i", "f", "o", "")),
    lstm_with_peepholes("ifo", previous=True),
    lstm_with_peepholes("ifo", full=True),
    lstm_with_peepholes("ifo", full=True, previous=True),
    lstm_with_peepholes("o", full=True, previous=True),
    Row(
        "PeepholeOnlyLSTM",
        keras_gates.PeepholeOnlyLSTMCell,
        ("h", "c"),
        shapes("ifgo", heard="ifo"),
        oracles.peephole_only,
        "its equations",
        (),
        HOLD_LSTM,
        CLEAR_LSTM,
        "c",
        unread=("h",),
    ),
    Row(
        "PeepholeOnlyLSTM(linear output)",
        partial(keras_gates.PeepholeOnlyLSTMCell, output_activation="linear"),
        ("h", "c"),
        shapes("ifgo", heard="ifo"),
        partial(oracles.peephole_only, output_activation=oracles.linear),
        "its equations",
        every_law=False,
    ),
    *(coupled_with_peepholes(gates) for gates in ("", "fo", "f", "o")),
    *(gated_recurrent_unit(after, update) for after in (True, False) for update in ("keep", "write")),
)

SETTINGS = {
    "activation": keras.activations.softsign,
    "kernel_initializer": keras.initializers.RandomNormal(seed=1),
    "kernel_regularizer": keras.regularizers.L2(0.01),
    "recurrent_regularizer": keras.regularizers.L1(0.01),
    "bias_constraint": keras.constraints.MaxNorm(3.0),
}
RNNS = {"keras.layers.RNN": keras.layers.RNN, "keras_gates.RNN": keras_gates.RNN}
