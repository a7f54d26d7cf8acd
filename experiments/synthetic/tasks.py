"""The table of tasks: what is drawn, when an answer is right, what is published."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from experiments.common.errors import InputError
from experiments.common.training import MainMeasure
from experiments.synthetic import grammars, remembering, timing


class Kind(NamedTuple):
    """What an answer is.

    activation: from the network's outputs to the answers.
    loss: a class of losses of these outputs, or with `from_logits=False` of the answers; None of its options
        if there is no activation.
    """

    activation: str
    loss: type

    def training_loss(self):
        return self._loss({} if self.activation == "linear" else {"from_logits": True})

    def loss_of_answers(self):
        return self._loss({})

    def _loss(self, options):
        return self.loss(reduction="mean_with_sample_weight", **options)


NUMBERS = Kind("linear", keras.losses.MeanSquaredError)
ONE_OF = Kind("softmax", keras.losses.CategoricalCrossentropy)
ANY_OF = Kind("sigmoid", keras.losses.BinaryCrossentropy)
# of all outputs: a symbol above it may follow, one below it may not
HALF = 0.5


class Task(NamedTuple):
    """A task.

    draw: a function from (random generator, count, **rule) to `Sequences`.
    kind: what an answer is.
    rule: the options of `draw` and their defaults.
    tolerance: an answer is right if every output differs from its target by less; None if it is right when
        its largest output is the target's. A sequence is right if all its answers are.
    main_measure: by which runs are compared.
    published: figures and their source, in words.
    features, outputs: names of the inputs and outputs.
    least: the least `length`, if there is one.
    longer: whether a test of ten times the length is made too, since what is kept up should last.
    """

    draw: Callable
    kind: Kind
    rule: dict
    tolerance: float | None
    main_measure: MainMeasure
    published: str
    features: tuple
    outputs: tuple
    least: int = 1
    longer: bool = False

    def rule_of(self, options):
        """The rule with what the command line gives. Raises `InputError` for what has no use here."""
        given = {name: getattr(options, name) for name in RULES if getattr(options, name) is not None}
        for name in given:
            if name not in self.rule:
                takes = ", ".join(f"--{name}" for name in self.rule) or "no such option"
                raise InputError(f"--{name} has no use in --task {options.dataset}, which takes {takes}.")
        rule = {**self.rule, **given}
        if rule.get("length", self.least) < self.least:
            raise InputError(
                f"--length {rule['length']} is too short for --task {options.dataset}: "
                f"expected at least {self.least}."
            )
        return rule

    def shortest_of(self, options, rule):
        """The least length of a training sequence, if they have several. Raises `InputError` as `rule_of`."""
        shortest = options.shortest
        if shortest is None:
            return None
        if "length" not in rule:
            raise InputError(f"--shortest has no use in --task {options.dataset}, which has no --length.")
        if not self.least <= shortest <= rule["length"]:
            raise InputError(
                f"--shortest {shortest}: expected a number from {self.least} to --length {rule['length']}."
            )
        return shortest


RULES = ("length", "period", "noise", "function", "longest")  # options that belong to a rule
LOSS, RIGHT, LONGEST = (
    MainMeasure("test_loss", "lower"),
    MainMeasure("test_right", "higher"),
    MainMeasure("test_longest", "higher"),
)
_GERS = "Gers et al. 2002"
_COUNTING = "Gers & Schmidhuber 2001 train on short strings and test on longer ones"
_REBER = "solved by LSTM in Hochreiter & Schmidhuber 1997"

TASKS = {
    "adding": Task(
        remembering.adding,
        NUMBERS,
        {"length": 100},
        tolerance=0.04,
        main_measure=LOSS,
        published="T=600, mean squared error: LSTM 0.164, GRU 5.3e-5, RNN 0.177 (Bai et al. 2018)",
        features=("number", "mark"),
        outputs=("sum",),
        least=2,
    ),
    "copy": Task(
        remembering.copy,
        ONE_OF,
        {"length": 50},
        tolerance=None,
        main_measure=LOSS,
        published="T=1,000, cross-entropy: 0.020 for LSTM, GRU and RNN (Bai et al. 2018)",
        features=("blank", *"12345678", "sign"),
        outputs=("blank", *"12345678"),
    ),
    "temporal-order": Task(
        remembering.temporal_order,
        ONE_OF,
        {"length": 100},
        tolerance=None,
        main_measure=RIGHT,
        published="solved by LSTM in Hochreiter & Schmidhuber 1997, task 6a",
        features=tuple("EabcdXYB"),
        outputs=("XX", "XY", "YX", "YY"),
        least=20,
    ),
    "measured-intervals": Task(
        timing.measured_intervals,
        NUMBERS,
        {"length": 60, "period": 10, "noise": 0},
        tolerance=0.49,
        main_measure=RIGHT,
        published=f"peepholes help, but not where intervals are noisy ({_GERS}); "
        "a modern run of spike distance, 30 to 60 steps: 0.998 with peepholes, 0.900 without",
        features=("spike",),
        outputs=("steps longer",),
        least=4,
    ),
    "generated-spikes": Task(
        timing.generated_spikes,
        NUMBERS,
        {"length": 50, "period": 10},
        tolerance=0.49,
        main_measure=RIGHT,
        published=f"solved only with peepholes ({_GERS})",
        features=("start",),
        outputs=("spike",),
        longer=True,
    ),
    "periodic": Task(
        timing.periodic,
        NUMBERS,
        {"length": 50, "period": 10, "function": "cosine"},
        tolerance=0.3,
        main_measure=RIGHT,
        published=f"solved only with peepholes ({_GERS})",
        features=("start",),
        outputs=("value",),
        longer=True,
    ),
    "waves": Task(
        timing.waves,
        NUMBERS,
        {"length": 320},
        tolerance=0.3,
        main_measure=LOSS,
        published="mean squared error on other waves of T=320, with about 2,500 parameters: "
        "clockwork 0.1125, simple 0.2454 (a replication of Koutník et al. 2014)",
        features=("one",),
        outputs=("value",),
    ),
    "anbn": Task(
        grammars.counted("ab"),
        ANY_OF,
        {"length": 10, "longest": 1000},
        tolerance=HALF,
        main_measure=LONGEST,
        published=_COUNTING,
        features=("start", "a", "b"),
        outputs=("a", "b", "end"),
    ),
    "anbncn": Task(
        grammars.counted("abc"),
        ANY_OF,
        {"length": 10, "longest": 1000},
        tolerance=HALF,
        main_measure=LONGEST,
        published=_COUNTING,
        features=("start", "a", "b", "c"),
        outputs=("a", "b", "c", "end"),
    ),
    "reber": Task(
        grammars.reber,
        ANY_OF,
        {},
        tolerance=HALF,
        main_measure=RIGHT,
        published=_REBER,
        features=tuple(grammars.REBER),
        outputs=tuple(grammars.REBER),
    ),
    "embedded-reber": Task(
        grammars.embedded_reber,
        ANY_OF,
        {},
        tolerance=HALF,
        main_measure=RIGHT,
        published=_REBER,
        features=tuple(grammars.REBER),
        outputs=tuple(grammars.REBER),
    ),
}
