"""A task made ready for training."""

import functools
import hashlib
import math

import numpy as np

from experiments.common import training
from experiments.synthetic.measures import TESTED, measure
from experiments.synthetic.network import answering, answers_of, network
from experiments.synthetic.picture import save_picture
from experiments.synthetic.sequences import TEST, TRAIN, VALIDATION, Drawn
from experiments.synthetic.tasks import TASKS

VALIDATED = 500  # sequences
TRACED = 3  # test sequences that --trace shows


def prepare(options):
    """The task that `options.dataset` names, and its network."""
    task = TASKS[options.dataset]
    rule = task.rule_of(options)
    draw = functools.partial(task.draw, **rule)
    shortest = task.shortest_of(options, rule)
    of_training = draw if shortest is None else functools.partial(_of_drawn_length, task.draw, rule, shortest)
    sizes = {"train": options.batches * options.batch_size, "validation": VALIDATED, "test": TESTED}
    sizes = {part: min(size, options.limit or size) for part, size in sizes.items()}

    def stream(part, draw, size):
        """Whole batches of at most `size` sequences together."""
        rows = min(options.batch_size, size)
        return Drawn(draw, part, rows, size // rows, options.seed)

    train = stream(TRAIN, of_training, sizes["train"])
    validation = stream(VALIDATION, draw, sizes["validation"])

    def test(model):
        measures = measure(task, rule, answers_of(task, model), sizes["test"])
        return {**measures, "published": task.published}, None

    model = network(task, options)
    return training.Problem(
        train=train,
        validation=validation,
        model=model,
        serving=functools.partial(answering, task),
        test=test,
        labels=task.outputs,
        facts={
            "data": _fingerprint(draw),
            "rule": rule,
            "examples": {"train": train.sequences, "validation": validation.sequences, "test": sizes["test"]},
        },
        texts=tuple(map(str, range(min(TRACED, sizes["test"])))),
        loss=task.kind.training_loss(),
        metrics=(),
        main_measure=task.main_measure,
        files=lambda model: {"sequence.png": functools.partial(save_picture, task, rule, model)},
    )


def _of_drawn_length(draw, rule, shortest, rng, count):
    """Sequences of one length, from `shortest` to the rule's; its logarithm is uniform, so most are short."""
    length = round(math.exp(rng.uniform(math.log(shortest), math.log(rule["length"]))))
    return draw(rng, count, **{**rule, "length": length})


def _fingerprint(draw):
    """A hash of some test sequences: tells whether two runs draw alike."""
    return hashlib.sha256(
        b"".join(map(np.ndarray.tobytes, draw(np.random.default_rng([TEST]), 8)))
    ).hexdigest()
