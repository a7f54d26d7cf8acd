"""How probable a network finds drawings, and whether its window walks over the texts that it writes."""

import functools

import numpy as np

from experiments.common.devices import predict_on_batch
from experiments.handwriting.data.strokes import standardised
from keras_gates.writing import Mixture

WALKED = 100  # test texts that are written


def measure(model, scribe, test, walked, baseline):
    """The measures of the test part by name.

    model: from what a batch of strokes has to the parameters of the mixture.
    scribe: the `Scribe` of the same network.
    test: batches of the test part, one of each drawing.
    walked: the texts that are written; none for a network that hears none.
    baseline: parameters of a mixture that are the same for every point.
    """
    mixture, one = (Mixture(components, 2, "full", True) for components in (scribe.mixtures, 1))
    nats, points = nats_of(functools.partial(predict_on_batch, model), mixture, test)
    plain, _ = nats_of(lambda given: np.tile(baseline, (*given["strokes"].shape[:2], 1)), one, test)
    measures = {
        "test_nats": nats / len(test.lengths),
        "test_nats_per_point": nats / points,
        "baseline_nats": plain / len(test.lengths),
        "baseline_nats_per_point": plain / points,
    }
    if walked:
        written = scribe.write(walked)
        measures["test_walks"] = float(np.mean([walks(each) for each in written]))
    return measures


def nats_of(parameters_of, mixture, batches):
    """−log p of all drawings in nats, of standardised offsets and the pen; and the number of points.

    The first point of a drawing, which is the origin, does not count.
    """
    nats, points = 0.0, 0.0
    for given, wanted, weights in batches.once():
        log_prob = mixture.log_prob(parameters_of(given), wanted)
        nats -= float(np.sum(np.asarray(log_prob, "float64") * weights.numpy()))
        points += float(weights.numpy().sum())
    return nats, points


def independent(writings, unit):
    """The parameters of one Gaussian and of a pen, fitted to the movements of some drawings: (7,)."""
    moves = np.concatenate([standardised(writing.strokes, unit)[1:] for writing in writings], dtype="float64")
    mean, deviations = moves[:, :2].mean(axis=0), moves[:, :2].std(axis=0)
    correlation = np.corrcoef(moves[:, 0], moves[:, 1])[0, 1]
    lifted = (moves[:, 2].sum() + 1) / (len(moves) + 2)  # a pen that was never lifted may still be
    logit = np.log(lifted / (1 - lifted))
    return np.array([0, *mean, *np.log(deviations), np.arctanh(correlation), logit], "float32")


def walks(written):
    """Whether the window went from the first character to the end of the text.

    It may not go back nor pass over a character, but for a space, on which nothing is drawn.
    """
    at = written.walk.argmax(axis=1)
    drawn = {place for place, character in enumerate(written.text) if not character.isspace()}
    return written.ended and bool(np.all(np.diff(at) >= 0)) and drawn <= set(at.tolist())
