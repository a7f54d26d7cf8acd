"""How well a network does a task, beside what the number of the step alone tells."""

import numpy as np

from experiments.synthetic.grammars import counting
from experiments.synthetic.sequences import BASELINE, TEST

TESTED = 1000  # sequences
STRINGS = 20  # of a counting language that are read at once, nearly equally long


def measure(task, rule, answers, tested=TESTED):
    """The measures of a task by name.

    answers: a function from inputs to the answers of the network.
    tested: the number of test sequences; they are the same for every seed.
    """
    test = task.draw(np.random.default_rng([TEST]), tested, **rule)
    others = task.draw(np.random.default_rng([BASELINE]), tested, **rule)
    measures = {
        **_measures("test", task, answers(test.inputs), test),
        **_measures("baseline", task, mean_of_each_step(others, test.targets.shape), test),
    }
    if task.longer:
        longer = task.draw(np.random.default_rng([TEST]), tested, **{**rule, "length": 10 * rule["length"]})
        measures["test_right_ten_times_longer"] = float(is_right(task, answers(longer.inputs), longer).mean())
    if "longest" in rule:
        measures["test_longest"] = longest_right(task, answers, rule["longest"])
    return measures


def _measures(part, task, answers, test):
    loss = task.kind.loss_of_answers()(test.targets, answers, sample_weight=test.weights)
    return {f"{part}_loss": float(loss), f"{part}_right": float(is_right(task, answers, test).mean())}


def is_right(task, answers, sequences):
    """Whether all answers of each sequence are right: (sequences,)."""
    targets, counts = sequences.targets, sequences.weights > 0
    if task.tolerance is None:
        right = answers.argmax(axis=-1) == targets.argmax(axis=-1)
    else:
        right = (np.abs(answers - targets) < task.tolerance).all(axis=-1)
    return (right | ~counts).all(axis=1)


def mean_of_each_step(others, shape):
    """The best answers of who sees the number of the step, and nothing of the sequence.

    others: `Sequences` of the same task.
    shape: of the answers; a step that the others do not have gets the mean of all steps.
    """
    weights = others.weights[..., None]
    of_step = (others.targets * weights).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
    of_all = (others.targets * weights).sum(axis=(0, 1)) / weights.sum()
    answers = np.broadcast_to(of_all, shape).astype("float32")
    known = np.flatnonzero(others.weights.any(axis=0)[: shape[1]])
    answers[:, known] = of_step[known]
    return answers


def longest_right(task, answers, longest):
    """The largest n for which aⁿbⁿ… and all shorter strings are right; 0 if the first is wrong."""
    letters = task.features[1:]
    for first in range(1, longest + 1, STRINGS):
        numbers = np.arange(first, min(first + STRINGS, longest + 1))
        strings = counting(letters, numbers)
        right = is_right(task, answers(strings.inputs), strings)
        if not right.all():
            return int(numbers[np.argmin(right)]) - 1
    return longest
