"""Comparisons that reproduce a paper: what is run, what was published, and why ours may differ.

The files of music and digits that they name are looked for in the working directory.
"""

from typing import NamedTuple

import keras_gates


class Preset(NamedTuple):
    """A comparison by name.

    about: what it shows, and the source, in a sentence.
    tasks: command lines after `python -m experiments.`, each with the published figures by cell, as text.
    cells: short names; none for all cells.
    budget: as --budget takes it; None for that of the tasks.
    seeds: runs of each cell on each task.
    differs: why our figures may differ from the published ones, in sentences.
    reference: the cell that the others are compared with; None for the first.
    """

    about: str
    tasks: dict
    cells: tuple
    budget: str | None
    seeds: int
    differs: str
    reference: str | None = None


_GERS = {"peephole": "solved", "lstm": "not solved"}
_COUNTING = "--epochs 40 --learning-rate 0.03 --patience 40"
_SMALL_MUSIC = "--epochs 60 --batch-size 4 --learning-rate 0.02 --dropout 0 --average 0.99 --patience 15"
_LONG_MUSIC = "--batch-size 4 --learning-rate 0.003 --average 0.99 --patience 30"
_PIXELS = "All read the 60,000 digits of MNIST; we hold 5,000 of them out for validation."

PRESETS = {
    "survey": Preset(
        "All cells with the same number of parameters on ten short tasks.",
        {
            "synthetic --task adding --length 50 --epochs 10": {},
            "synthetic --task copy --length 20 --epochs 10": {},
            "synthetic --task temporal-order --length 50 --epochs 10": {},
            "synthetic --task measured-intervals --epochs 10": {},
            "synthetic --task generated-spikes --epochs 10": {},
            "synthetic --task periodic --epochs 10": {},
            "synthetic --task anbn --epochs 10": {},
            "synthetic --task embedded-reber --epochs 10": {},
            "synthetic --task waves --length 100 --epochs 10": {},
            "pixels --limit 2000 --epochs 10": {},
        },
        (),
        "parameters=4000",
        3,
        "Nothing was published for these sizes.",
        reference="lstm",
    ),
    "odyssey": Preset(
        "The vanilla LSTM and its eight variants on chorales (Greff et al. 2017): to remove the forget gate "
        "or the output activation hurts most, and no variant is significantly better than the vanilla LSTM.",
        {f"music --dataset JSB_Chorales.mat --epochs 150 {_LONG_MUSIC}": {}},
        tuple(keras_gates.ODYSSEY),
        "units=100",
        10,
        "The paper draws 200 settings of each variant at random, as `--search 200` does, and trains by "
        "stochastic gradient descent with momentum; we train by Adam.",
    ),
    "chung2014": Preset(
        "Gated and plain units on four corpora of music (Chung et al. 2014, Table 2).",
        {
            f"music --dataset JSB_Chorales.mat {_SMALL_MUSIC}": {
                "simple": "9.10",
                "gru": "8.54",
                "lstm": "8.67",
            },
            f"music --dataset Nottingham.mat {_SMALL_MUSIC}": {
                "simple": "3.13",
                "gru": "3.23",
                "lstm": "3.20",
            },
            f"music --dataset MuseData.mat {_SMALL_MUSIC}": {"simple": "6.23", "gru": "5.99", "lstm": "6.23"},
            f"music --dataset Piano_midi.mat {_SMALL_MUSIC}": {
                "simple": "9.03",
                "gru": "8.82",
                "lstm": "9.03",
            },
        },
        ("simple", "gru", "lstm"),
        "parameters=20000",
        3,
        "A frame is predicted by independent notes, as in the paper. The paper trains by RMSProp, with noise "
        "on the weights; we by Adam, with averaged weights, and end at the best of 60 epochs in validation.",
    ),
    "bai2018-music": Preset(
        "Recurrent networks as convolutions were compared with them (Bai et al. 2018, Table 1).",
        {
            f"music --dataset JSB_Chorales.mat --epochs 150 {_LONG_MUSIC}": {
                "simple": "8.91",
                "gru": "8.43",
                "lstm": "8.45",
            },
            f"music --dataset Nottingham.mat --epochs 60 {_LONG_MUSIC}": {
                "simple": "4.05",
                "gru": "3.46",
                "lstm": "3.29",
            },
        },
        ("simple", "gru", "lstm"),
        "units=200",
        3,
        "Our networks end at the best epoch in validation and use dropout; a frame is predicted by "
        "independent notes, as in the paper. The weights are averaged over steps.",
    ),
    "bai2018-lags": Preset(
        "Long lags: the adding problem and copying (Bai et al. 2018, Table 1), with recent cells beside.",
        {
            "synthetic --task adding --length 600": {"simple": "0.177", "gru": "5.3e-5", "lstm": "0.164"},
            "synthetic --task copy --length 1000 --epochs 50": {
                "simple": "0.0202",
                "gru": "0.0197",
                "lstm": "0.0204",
            },
        },
        ("simple", "gru", "lstm", "indrnn", "janet", "min-gru", "slstm"),
        "units=128",
        3,
        "Our sequences are drawn anew all the time; the paper's networks differ in size and training.",
    ),
    "bai2018-pixels": Preset(
        "MNIST pixel by pixel, and in an order drawn once (Bai et al. 2018, Table 1).",
        {
            "pixels --dataset mnist.npz --by pixel": {"simple": "0.215", "gru": "0.962", "lstm": "0.872"},
            "pixels --dataset mnist.npz --by pixel --permuted": {"gru": "0.873", "lstm": "0.857"},
        },
        ("simple", "gru", "lstm"),
        None,
        3,
        f"{_PIXELS} Others have published 0.989 and 0.902 for the LSTM (Cooijmans).",
    ),
    "rows": Preset(
        "MNIST row by row, where 0.989 was published.",
        {"pixels --dataset mnist.npz --by row --epochs 30": {}},
        ("simple", "gru", "lstm", "minimal-gated", "janet"),
        "units=256",
        3,
        _PIXELS,
    ),
    "gers2002": Preset(
        "Timing with peepholes and without (Gers et al. 2002): spikes and periodic functions are solved only "
        "with peepholes; where intervals are noisy, peepholes do not help.",
        {
            "synthetic --task generated-spikes": _GERS,
            "synthetic --task periodic --function cosine": _GERS,
            "synthetic --task periodic --function triangle": _GERS,
            "synthetic --task periodic --function rectangle": _GERS,
            "synthetic --task measured-intervals": {},
            "synthetic --task measured-intervals --noise 2": {},
        },
        ("lstm", "peephole"),
        "units=4",
        10,
        "The paper generates one stream of spikes and truncates gradients; our starts are drawn, gradients "
        "run through the whole sequence, and intervals are numbers to be told.",
    ),
    "gers2001": Preset(
        "Counting: trained on short strings, tested up to n = 1,000 (Gers & Schmidhuber 2001).",
        {f"synthetic --task anbn --hard {_COUNTING}": {}, f"synthetic --task anbn {_COUNTING}": {}},
        ("lstm", "NFG", "peephole", "coupled", "gru", "NIG", "simple", "janet"),
        "units=4",
        3,
        "The paper trains string by string, with sigmoids; half of ours have hard ones.",
    ),
    "koutnik2014": Preset(
        "Waves learnt by heart by a clockwork and a simple network (Koutník et al. 2014, in a replication).",
        {"synthetic --task waves": {"clockwork": "0.1125", "simple": "0.2454"}},
        ("clockwork", "simple", "lstm"),
        "parameters=2500",
        5,
        "Our waves are other sums of sines.",
    ),
    "zhou2016": Preset(
        "A GRU with one gate (Zhou et al. 2016) beside the GRU and the LSTM.",
        {"synthetic --task adding --length 100": {}, "pixels --dataset mnist.npz --by row": {}},
        ("minimal-gated", "gru", "lstm"),
        "units=100",
        5,
        "The paper's sizes and training are others.",
    ),
    "westhuizen2018": Preset(
        "JANET, an LSTM with the forget gate alone (van der Westhuizen & Lasenby 2018).",
        {
            "pixels --dataset mnist.npz --by pixel": {"janet": "0.99", "lstm": "0.985"},
            "pixels --dataset mnist.npz --by pixel --permuted": {"janet": "0.925", "lstm": "0.91"},
        },
        ("janet", "lstm"),
        None,
        3,
        f"{_PIXELS} The paper starts with biases spread by the length of the sequence.",
    ),
    "li2018": Preset(
        "IndRNN over long lags (Li et al. 2018).",
        {
            "synthetic --task adding --length 100": {},
            "synthetic --task adding --length 500": {},
            "synthetic --task adding --length 1000": {},
        },
        ("indrnn", "simple", "lstm"),
        "units=128",
        3,
        "The paper trains for many more steps, and stacks two layers.",
    ),
    "feng2024": Preset(
        "minGRU and minLSTM beside the cells from which they are made (Feng et al. 2024).",
        {"synthetic --task copy --length 100": {}, "synthetic --task temporal-order": {}},
        ("min-gru", "min-lstm", "gru", "lstm"),
        "parameters=20000",
        3,
        "The paper stacks several layers; here is one.",
    ),
    "beck2024": Preset(
        "sLSTM on grammars, which need a state that is mixed at each step (Beck et al. 2024).",
        {"synthetic --task embedded-reber": {}, "synthetic --task anbn": {}},
        ("slstm", "min-lstm", "lstm"),
        "parameters=4000",
        5,
        "The paper's grammars are others, and its networks have two blocks.",
    ),
}
