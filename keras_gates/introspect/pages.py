"""Text coloured by a unit, as one self-contained HTML page."""

import base64
import html
import json
import pathlib

import numpy as np

from keras_gates.introspect.statistics import gates_of, rank_units

TEMPLATE = pathlib.Path(__file__).with_name("page.html")

# Values are encoded as bytes: 255 levels are more than the eye distinguishes, and one is left for "no value".
LEVELS, MISSING = 254, 255


def page(trace, tokens, sequence=0, labels=None, choose=None, title="Text coloured by a unit", best=12):
    """A page with the text of one sequence, each token coloured by a unit of the reader's choice.

    The reader selects the layer, the gate or state, and the unit; or, for each of the labellings, one from
    the list of the units that follow it best. `swing` is how much a step changed the memory (c, or h where
    there is none), |c_t − c_{t−1}|; its last entry is the norm over all units.

    Args:
        trace: what `trace` returned.
        tokens: the text of each step of the sequence, characters or words; steps beyond them are left out.
        sequence: its index in the batch.
        labels: `{what: numbers}`, labellings of the steps as `rank_units` takes them, `(batch, time)`.
        choose: `(layer, name, unit)` to show first, where `swing` is a name too; by default the unit that
            follows the first labelling best.
        title: the title of the page.
        best: how many units to list for each labelling.

    Returns:
        The page, a string of HTML. Write it to a file in UTF-8.

    Raises:
        ValueError: there are more tokens than steps, a labelling has another shape than the steps, or
            `choose` names nothing that the trace has.
    """
    tokens = list(tokens)
    labels = labels or {}
    steps = next(iter(next(iter(trace.values())).values())).shape[1]
    if len(tokens) > steps:
        raise ValueError(f"The trace has {steps} steps; got {len(tokens)} tokens to colour.")
    ranked = {what: rank_units(trace, numbers)[:best] for what, numbers in labels.items()}
    shown = {
        place: _packed_layer(layer, sequence, len(tokens), backward="backward" in place.split("/"))
        for place, layer in trace.items()
    }
    data = {
        "tokens": tokens,
        "layers": shown,
        "ranked": {what: [list(unit) for unit in units] for what, units in ranked.items()},
        "labels": {
            what: _pack(_as_series(np.asarray(numbers)[sequence, : len(tokens), None], signed=False))
            for what, numbers in labels.items()
        },
        "chosen": list(_chosen(choose, shown, ranked)),
    }
    return (
        TEMPLATE.read_text(encoding="utf-8")
        .replace("{{title}}", html.escape(title))
        # "<" must not end the script, whatever the text is
        .replace("{{data}}", json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"))
    )


def _chosen(choose, shown, ranked):
    if choose is not None:
        place, name, unit = choose
        if name not in shown.get(place, {}) or not 0 <= unit < len(shown[place][name]["low"]):
            raise ValueError(f"`choose` must be a layer, a name and a unit of the trace; got {choose!r}.")
        return place, name, unit
    for units in ranked.values():
        return units[0][:3]
    place, layer = next(iter(shown.items()))
    return place, next(name for name in ("c", "h", *layer) if name in layer), 0


def _packed_layer(layer, sequence, steps, backward):
    """What can be shown of a layer: its gates and states, and the swing of its memory, from zero on."""
    gates = gates_of(layer)
    shown = {
        name: _as_series(values[sequence, :steps], signed=name not in gates) for name, values in layer.items()
    }
    memory = "c" if "c" in layer else "h"
    if memory in layer:
        start = {"append": 0} if backward else {"prepend": 0}
        changed = np.abs(np.diff(np.nan_to_num(layer[memory][sequence]), axis=0, **start))[:steps]
        norm = np.linalg.norm(changed, axis=-1, keepdims=True)
        shown["swing"] = _as_series(np.concatenate([changed, norm], axis=-1), signed=False)
        shown["swing"]["last"] = "all"
    return {name: _pack(series) for name, series in shown.items()}


def _as_series(values, signed):
    return {"values": values.astype("float64").reshape(len(values), -1), "signed": signed}


def _pack(series):
    """The values of each unit, scaled to its own bounds, as bytes, unit by unit."""
    values = series.pop("values")
    known = ~np.isnan(values)
    high = np.where(known, values, -np.inf).max(axis=0, initial=-np.inf)
    low = np.where(known, values, np.inf).min(axis=0, initial=np.inf)
    high, low = (np.where(np.isfinite(bound), bound, 0.0) for bound in (high, low))
    if series["signed"]:
        high = np.maximum(np.abs(high), np.abs(low))
        low = -high
    scale = np.where(high > low, high - low, 1)
    with np.errstate(invalid="ignore"):
        levels = np.where(known, np.round((values - low) / scale * LEVELS), MISSING).astype("uint8")
    return {
        **series,
        "low": [float(f"{bound:.4g}") for bound in low],
        "high": [float(f"{bound:.4g}") for bound in high],
        "bytes": base64.b64encode(levels.T.tobytes()).decode(),
    }
