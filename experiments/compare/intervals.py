"""Means with intervals, paired tests, and ranks over tasks."""

from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
RESAMPLED = 9999


class Mean(NamedTuple):
    """A mean and its bootstrap interval; None for the ends if there is but one value."""

    value: float
    low: float | None
    high: float | None


def mean_of(values):
    """The mean of some values, with its percentile bootstrap interval, the same every time."""
    if len(values) < 2:
        return Mean(float(np.mean(values)), None, None)
    found = stats.bootstrap(
        (np.asarray(values),),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=RESAMPLED,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return Mean(float(np.mean(values)), *map(float, found.confidence_interval))


def paired_p(ours, theirs):
    """The two-sided p-value of the mean difference of pairs, by a permutation test of their signs.

    With n pairs it is at least 2 / 2**n. None with fewer than two pairs.
    """
    if len(ours) < 2:
        return None
    found = stats.permutation_test(
        (np.asarray(ours), np.asarray(theirs)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLED,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def explained(groups):
    """The share of the variance of single values that the groups explain, as if these were drawn at random.

    That is the intraclass correlation ICC(1) (Shrout & Fleiss 1979), zero where it is negative. None with
    fewer than two groups of several values, or where no value differs.
    """
    groups = [np.asarray(values, float) for values in groups if len(values) > 1]
    if len(groups) < 2:
        return None
    sizes = np.array([len(values) for values in groups])
    within = sum(((values - values.mean()) ** 2).sum() for values in groups) / (sizes - 1).sum()
    grand = np.concatenate(groups).mean()
    between = sum(len(values) * (values.mean() - grand) ** 2 for values in groups) / (len(groups) - 1)
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (
        len(groups) - 1
    )  # all of them, if they are equal
    of_groups = max((between - within) / size, 0.0)
    return float(of_groups / (of_groups + within)) if of_groups + within else None


def holm(p_values):
    """Holm's correction of p-values for their number; None stays None."""
    order = sorted((at for at, p in enumerate(p_values) if p is not None), key=lambda at: p_values[at])
    corrected, highest = list(p_values), 0.0
    for passed, at in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - passed) * p_values[at]))
        corrected[at] = highest
    return corrected


class Ranks(NamedTuple):
    """Mean ranks over tasks (Demšar 2006).

    mean: of each cell, 1 the best.
    critical: two cells whose mean ranks differ by less are not told apart by Nemenyi's test.
    p: that all cells are equal, by Friedman's test; None with fewer than three cells.
    """

    mean: np.ndarray
    critical: float
    p: float | None


def ranks(scores):
    """The ranks of cells over tasks.

    scores: (tasks, cells), at least two of each, higher is better.
    """
    tasks, cells = scores.shape
    each = stats.rankdata(-scores, axis=1)
    q = stats.studentized_range.ppf(LEVEL, cells, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(cells * (cells + 1) / (6 * tasks)))
    p = float(stats.friedmanchisquare(*scores.T).pvalue) if cells > 2 else None
    return Ranks(each.mean(axis=0), critical, p)
