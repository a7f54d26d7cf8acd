"""The cells under test, one row each: all it takes for a cell to be held to every law and certificate.

A row says what the design says of a cell, not what the cell says of itself. The laws stand in `test_laws.py`,
the certificates in `test_oracles.py`; both run over this table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import keras
import numpy as np
import oracles
from problem import BATCH, FEATURES, UNITS, named, random_problem

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
    learned: the states whose first value can be learned, all by default.
    sizes: of the states that are not as wide as the cell.
    within: what brings a random state into the range its cell knows, by its name.
    draws: whether it draws at random in each step of training.
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
    learned: tuple | None = None
    sizes: Mapping = field(default_factory=dict)
    within: Mapping = field(default_factory=dict)
    draws: bool = False
    every_law: bool = True

    def __str__(self):
        return self.name

    def cell(self, **arguments):
        return self.make(UNITS, **arguments)

    def takes(self, argument):
        """Whether the cell has a use for an argument of the base."""
        return argument not in getattr(self.cell(), "without", ())

    def problem(self, mask="none", go_backwards=False, seed=0):
        states = {name: (BATCH, self.sizes.get(name, UNITS)) for name in self.states}
        return random_problem(self.weights, states, mask, go_backwards, seed, self.within)

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
    for name, weight in named(cell.trainable_weights).items():
        if name in values:
            weight.assign(values[name])


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


def clockwork(periods):
    """The row of a `ClockworkCell`; at the start each sequence is somewhere else in the cycle."""
    return Row(
        f"Clockwork({' '.join(map(str, periods))})",
        partial(keras_gates.ClockworkCell, periods=periods),
        ("h", "t"),
        shapes("n"),
        partial(oracles.clockwork, periods=periods),
        "Koutník et al. 2014",
        learned=("h",),
        sizes={"t": 1},
        within={"t": lambda t: np.arange(BATCH)[:, None] % np.lcm.reduce(periods) * 1.0},
        every_law=len(periods) > 2,
    )


def depth_gated(x, states, weights):
    """Two layers: the weights of the second are those that share a name with one of the first, and d's."""
    bias = weights.get("bias_2", np.zeros(5 * UNITS))
    upper = {
        "kernel": weights["kernel_2"][:, : 4 * UNITS],
        "recurrent_kernel": weights["recurrent_kernel_2"],
        "bias": bias[: 4 * UNITS],
        "depth_kernel": weights["kernel_2"][:, 4 * UNITS :],
        "depth_bias": bias[4 * UNITS :],
        "depth_own": weights["depth_own"],
        "depth_below": weights["depth_below"],
    }
    return oracles.depth_gated(x, states, [weights, upper])


def departure(variant, cell, gates, hold=None, clear=None):
    """The row of a cell of `keras_gates.cells.odyssey`."""
    own = peepholes(gate for gate in gates if gate != "g")
    recurrent = {"gate_kernel": (3 * UNITS, 3 * UNITS)} if variant == "FGR" else {}

    def oracle(x, states, weights):
        W, U, b = oracles.read(weights, gates)
        blocks = {f"W_{gate}": value for gate, value in vars(W).items()}
        blocks |= {f"U_{gate}": value for gate, value in vars(U).items()}
        blocks |= {f"b_{gate}": value for gate, value in vars(b).items()}
        blocks |= {f"p_{gate}": weights[f"peephole_{gate}"] for gate in gates if gate != "g"}
        if variant == "FGR":
            for before, rows in zip("ifo", np.split(weights["gate_kernel"], 3), strict=True):
                blocks |= {
                    f"R_{before}{gate}": block for gate, block in vars(oracles.by_gate(rows, "ifo")).items()
                }
        return oracles.odyssey(x, states, blocks, variant)

    return Row(
        f"{variant} {cell.__name__.removesuffix('Cell')}",
        cell,
        ("h", "c", "i", "f", "o") if variant == "FGR" else ("h", "c"),
        shapes(gates, **own, **recurrent),
        oracle,
        "Greff et al. 2017",
        (),
        hold,
        clear,
        "c",
        learned=("h", "c"),
    )


def layer_norm_lstm(x, states, weights, **options):
    """Its bias is the one shift of both products."""
    names = {
        "kernel_gain": "kernel_gamma",
        "recurrent_gain": "recurrent_gamma",
        "state_gain": "state_gamma",
        "state_shift": "state_beta",
    }
    renamed = {ours: weights[theirs] for ours, theirs in names.items()}
    return oracles.layer_norm_lstm(x, states, {**weights, **renamed}, **options)


def layer_norm_gru(x, states, weights, **options):
    """Its two biases are the shifts of the four normalized products."""
    gates = 2 * UNITS
    gain_x, gain_h = weights["kernel_gamma"], weights["recurrent_gamma"]
    bias_x, bias_h = weights.get("bias", np.zeros((2, 3 * UNITS)))
    renamed = {
        "kernel": weights["kernel"],
        "recurrent_kernel": weights["recurrent_kernel"],
        "kernel_gain": gain_x[:gates],
        "kernel_shift": bias_x[:gates],
        "recurrent_gain": gain_h[:gates],
        "recurrent_shift": bias_h[:gates],
        "candidate_kernel_gain": gain_x[gates:],
        "candidate_kernel_shift": bias_x[gates:],
        "candidate_recurrent_gain": gain_h[gates:],
        "candidate_recurrent_shift": bias_h[gates:],
    }
    return oracles.layer_norm_gru(x, states, renamed, **options)


def layer_norm_simple(x, states, weights):
    shift = weights.get("bias", np.zeros(UNITS))
    return oracles.layer_norm_simple(x, states, {**weights, "sum_gain": weights["gamma"], "sum_shift": shift})


def layer_normalized_lstm(carry):
    """The row of a `LayerNormLSTMCell`."""
    gains = {"kernel_gamma": (4 * UNITS,), "recurrent_gamma": (4 * UNITS,)}
    normalized = carry == "normalized"
    return Row(
        f"LayerNormLSTM(carry {carry})",
        partial(keras_gates.LayerNormLSTMCell, carry=carry),
        ("h", "c"),
        shapes("ifgo", **gains, state_gamma=(UNITS,), state_beta=(UNITS,)),
        partial(layer_norm_lstm, carry_normalized=normalized),
        "TensorFlow Addons" if normalized else "Ba et al. 2016",
        (),
        None if normalized else HOLD_LSTM,
        {"i": 0, "f": 0, "o": 0},
        "c",
        every_law=not normalized,
    )


def layer_normalized_gru(update):
    """The row of a `LayerNormGRUCell`."""
    keep = update == "keep"
    return Row(
        f"LayerNormGRU({update})",
        partial(keras_gates.LayerNormGRUCell, update=update),
        ("h",),
        shapes("urn", (2, 3 * UNITS), kernel_gamma=(3 * UNITS,), recurrent_gamma=(3 * UNITS,)),
        partial(layer_norm_gru, update=update),
        "Ba et al. 2016",
        (),
        {"u": int(keep)},
        {"u": int(not keep), "r": 0},
        every_law=not keep,
    )


def without_recurrence(gates):
    weights = shapes(gates)
    del weights["recurrent_kernel"]
    return weights


def slstm(forget):
    """The row of an `SLSTMCell`; its normaliser is positive."""
    return Row(
        f"SLSTM({forget} forget gate)",
        partial(keras_gates.SLSTMCell, forget=forget),
        ("h", "c", "n", "m"),
        shapes("ifgo"),
        partial(oracles.slstm, forget=forget),
        "Beck et al. 2024",
        (),
        HOLD_LSTM if forget == "sigmoid" else None,
        {"f": 0, "i": 1, "o": 0},
        "c",
        learned=("h",),
        within={"n": lambda n: np.float32(1.5) + np.abs(n)},
        every_law=forget == "sigmoid",
    )


def zoneout_of_lstm(units, **arguments):
    return keras_gates.ZoneoutCell(keras_gates.LSTMCell(units, **arguments), zoneout={"h": 0.0625, "c": 0.5})


def zoneout(x, states, weights):
    return oracles.zoneout(x, states, partial(oracles.lstm, weights=weights), (0.0625, 0.5))


def residual_lstm(units, **arguments):
    return keras_gates.ResidualCell(keras_gates.LSTMCell(units, **arguments), project=True)


def residual(x, states, weights):
    step = partial(oracles.lstm, weights=weights)
    return oracles.residual(x, states, step, weights["projection"])


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
        learned=("c",),
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
    Row(
        "MinimalGated",
        keras_gates.MinimalGatedCell,
        ("h",),
        shapes("fn"),
        oracles.minimal_gated,
        "Zhou et al. 2016",
        hold={"f": 0},
    ),
    clockwork((1, 2, 4, 8)),
    clockwork((2, 3)),
    Row(
        "DepthGatedLSTM",
        keras_gates.DepthGatedLSTMCell,
        ("h2", "c2", "h1", "c1"),
        {
            **shapes("ifgo"),
            "kernel_2": (UNITS, 5 * UNITS),
            "recurrent_kernel_2": (UNITS, 4 * UNITS),
            "bias_2": (5 * UNITS,),
            "depth_own": (UNITS,),
            "depth_below": (UNITS,),
        },
        depth_gated,
        "Yao et al. 2015",
    ),
    departure("NIG", keras_gates.NoInputGateLSTMCell, "fgo", None, {"f": 0, "o": 0}),
    departure("NFG", keras_gates.NoForgetGateLSTMCell, "igo", {"i": 0}),
    departure("NOG", keras_gates.NoOutputGateLSTMCell, "ifg", HOLD_LSTM, CLEAR_LSTM),
    departure("NIAF", keras_gates.NoInputActivationLSTMCell, "ifgo", HOLD_LSTM, CLEAR_LSTM),
    departure("NOAF", keras_gates.NoOutputActivationLSTMCell, "ifgo", HOLD_LSTM, CLEAR_LSTM),
    departure("CIFG", keras_gates.CoupledPeepholeLSTMCell, "fgo", {"f": 1}, {"f": 0, "o": 0}),
    departure("FGR", keras_gates.FullGateRecurrenceLSTMCell, "ifgo", HOLD_LSTM, {"i": 0, "f": 0, "o": 0}),
    Row(
        "LayerNormSimpleRNN",
        keras_gates.LayerNormSimpleRNNCell,
        ("h",),
        shapes("n", gamma=(UNITS,)),
        layer_norm_simple,
        "TensorFlow Addons",
    ),
    *(layer_normalized_lstm(carry) for carry in ("plain", "normalized")),
    *(layer_normalized_gru(update) for update in ("write", "keep")),
    Row(
        "IndRNN",
        keras_gates.IndRNNCell,
        ("h",),
        {"kernel": (FEATURES, UNITS), "recurrent_kernel": (UNITS,), "bias": (UNITS,)},
        oracles.indrnn,
        "Li et al. 2018",
    ),
    Row(
        "JANET",
        keras_gates.JANETCell,
        ("h",),
        shapes("fg"),
        oracles.janet,
        "van der Westhuizen & Lasenby 2018",
        hold={"f": 1},
    ),
    Row(
        "JANET(beta 0)",
        partial(keras_gates.JANETCell, beta=0.0),
        ("h",),
        shapes("fg"),
        partial(oracles.janet, beta=0.0),
        "van der Westhuizen & Lasenby 2018",
        every_law=False,
    ),
    Row(
        "MinLSTM",
        keras_gates.MinLSTMCell,
        ("h",),
        without_recurrence("ifg"),
        oracles.min_lstm,
        "Feng et al. 2024",
        hold=HOLD_LSTM,
        clear={"i": 1, "f": 0},
    ),
    Row(
        "MinGRU",
        keras_gates.MinGRUCell,
        ("h",),
        without_recurrence("un"),
        oracles.min_gru,
        "Feng et al. 2024",
        hold={"u": 0},
        clear={"u": 1},
    ),
    *(slstm(forget) for forget in ("sigmoid", "exponential")),
    Row(
        "Zoneout(LSTM)",
        zoneout_of_lstm,
        ("h", "c"),
        shapes("ifgo"),
        zoneout,
        "Krueger et al. 2017",
        draws=True,
    ),
    Row(
        "Residual(LSTM)",
        residual_lstm,
        ("h", "c"),
        {"projection": (FEATURES, UNITS), **shapes("ifgo")},
        residual,
        "He et al. 2016",
    ),
)

SETTINGS = {
    "activation": keras.activations.softsign,
    "kernel_initializer": keras.initializers.RandomNormal(seed=1),
    "kernel_regularizer": keras.regularizers.L2(0.01),
    "recurrent_regularizer": keras.regularizers.L1(0.01),
    "bias_constraint": keras.constraints.MaxNorm(3.0),
}
RNNS = {"keras.layers.RNN": keras.layers.RNN, "keras_gates.RNN": keras_gates.RNN}
