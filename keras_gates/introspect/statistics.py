"""Statistics of a trace: how far gates are open, how long memories last, which unit follows what."""

from typing import NamedTuple

import numpy as np

# What a cell reports besides its gates: candidates, states, outputs, and where an attention looks.
NOT_GATES = (
    *("g", "n", "h", "c", "m", "t", "a", "canvas", "output", "alignment"),
    *("kappa", "end", "center", "stride", "variance", "intensity"),
    *("location", "mean", "log_prob", "baseline", "theta"),
)


class Unit(NamedTuple):
    """A unit and how it follows a labelling: Pearson's correlation, in [-1, 1]."""

    layer: str
    name: str
    unit: int
    correlation: float


def gates_of(layer):
    """The gates of one layer of a trace, by name: what lies in [0, 1] and is not a state or candidate."""
    return {
        name: values for name, values in layer.items() if name not in NOT_GATES and _in_unit_range(values)
    }


def _in_unit_range(values):
    known = values[~np.isnan(values)]
    return known.size > 0 and known.min() >= 0 and known.max() <= 1


def saturation(trace, shut_below=0.1, open_above=0.9):
    """The fraction of time that each gate of each unit is open and shut (Karpathy, Johnson & Fei-Fei 2015).

    Args:
        trace: what `trace` returned. Masked steps are ignored.
        shut_below, open_above: below and above which values a gate counts as shut and as open.

    Returns:
        `{layer: {gate: {"shut": fractions, "open": fractions}}}`, each of shape `(units,)`.
    """
    return {
        place: {
            gate: {
                "shut": _over_time(np.where(np.isnan(values), np.nan, values < shut_below)),
                "open": _over_time(np.where(np.isnan(values), np.nan, values > open_above)),
            }
            for gate, values in gates_of(layer).items()
        }
        for place, layer in trace.items()
    }


def time_constants(trace, keep=None):
    """How long each unit remembers: the steps in which its memory decays to 1/e, by the gate that keeps it.

    With the gate at f_t, what was stored t steps ago has been multiplied by Π f; so the time constant is
    −1 / mean(log f), the mean taken over all unmasked steps. It does not consider what is newly written.

    Args:
        trace: what `trace` returned.
        keep: the gate that multiplies the memory. By default f in layers with a memory c, else u, as in
            a GRU with `update="keep"`. The result for u has no meaning where u says how much to write, as
            in minGRU.

    Returns:
        `{layer: steps}`, of shape `(units,)`, infinite where the gate is always one, for the layers that
        have such a gate.
    """
    chosen = {place: keep or ("f" if "c" in layer else "u") for place, layer in trace.items()}
    with np.errstate(divide="ignore"):
        return {
            place: 1 / np.abs(_over_time(np.log(trace[place][gate].astype("float64"))))
            for place, gate in chosen.items()
            if gate in trace[place]
        }


def _over_time(values):
    return np.nanmean(values, axis=(0, 1))


def summary(trace, shut_below=0.1, open_above=0.9, keep=None):
    """Every gate in a few numbers, averaged over units.

    Args: as in `saturation` and `time_constants`.

    Returns:
        `{layer: {gate: {"mean": …, "shut": …, "open": …}}}`: the mean of the gate and the fractions of
        time for which it is shut and open; and under the layer's `"time_constant"` the median over its
        units, in steps.
    """
    table = {
        place: {
            gate: {
                "mean": float(np.nanmean(trace[place][gate])),
                **{side: float(fractions.mean()) for side, fractions in sides.items()},
            }
            for gate, sides in gates.items()
        }
        for place, gates in saturation(trace, shut_below, open_above).items()
    }
    for place, steps in time_constants(trace, keep).items():
        table[place]["time_constant"] = float(np.median(steps))
    return table


def rank_units(trace, labels, names=None):
    """Every unit by how well it follows a labelling of the steps, the best first.

    Args:
        trace: what `trace` returned.
        labels: a number for each step, shape `(batch, time)`, such as one inside a string and zero outside.
            NaN where there is none; such steps and masked ones are ignored.
        names: the states and gates to rank; by default all.

    Returns:
        A list of `Unit`, by decreasing size of the correlation, which is zero for a unit that never changes.

    Raises:
        ValueError: `labels` has another shape than the steps of a layer.
    """
    labels = np.asarray(labels, "float64")
    units = []
    for place, layer in trace.items():
        for name, values in layer.items():
            if names is not None and name not in names:
                continue
            if labels.shape != values.shape[:2]:
                raise ValueError(
                    f"`labels` must have one number for each of the {values.shape[:2]} steps (batch, time) "
                    f"of {place!r}; got the shape {labels.shape}."
                )
            correlations = _correlations(values, labels)
            units += [Unit(place, name, unit, float(r)) for unit, r in enumerate(correlations)]
    return sorted(units, key=lambda unit: -abs(unit.correlation))


def _correlations(values, labels):
    """Pearson's correlation of each unit of `(batch, time, units)` with `(batch, time)`."""
    values = values.reshape(*labels.shape, -1)
    counts = ~np.isnan(labels) & ~np.isnan(values[..., 0])
    a = values[counts].astype("float64")
    b = labels[counts]
    a -= a.mean(axis=0)
    b = b - b.mean()
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum())
    return np.divide(b @ a, scale, out=np.zeros(a.shape[1]), where=scale > 0)
