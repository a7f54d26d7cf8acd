"""A Keras callback that logs the gates of a model while it trains."""

import csv
import pathlib

import keras
import numpy as np

from keras_gates._files import written_whole
from keras_gates.introspect.gradients import gradient_flow
from keras_gates.introspect.statistics import summary
from keras_gates.introspect.tracing import trace


class GateLog(keras.callbacks.Callback):
    """Log, after each epoch, how far gates are open, how long memories last and how large gradients are.

    All are measured on a few fixed sequences. The numbers are added to the logs of the epoch, under names
    such as `lstm/f/open`, `lstm/time_constant` and `lstm/c/gradient_first`; so they are in the history, and
    callbacks that come later in the list (`TensorBoard`, `CSVLogger`) write them as they write the loss.

    Args:
        inputs: a few sequences, as the model takes them.
        targets: their targets; without these, gradients are left out.
        path: a CSV file to write them to as well, one row for each epoch; an existing file is replaced.

    Per layer and gate: `mean`, and the fractions of time `open` (above 0.9) and `shut` (below 0.1); per layer
    `time_constant`, the median of `keras_gates.introspect.time_constants`, in steps; per layer and state the
    norm of the loss's gradient at the first and the last unmasked step, `gradient_first` and
    `gradient_last`, averaged over the sequences. (No step follows c of the last step: its gradient is zero.)
    """

    def __init__(self, inputs, targets=None, path=None):
        super().__init__()
        self.inputs = inputs
        self.targets = targets
        self.path = None if path is None else pathlib.Path(path)

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        numbers = gate_numbers(trace(self.model, self.inputs))
        if self.targets is not None:
            numbers |= gradient_numbers(gradient_flow(self.model, self.inputs, self.targets))
        if logs is not None:
            logs.update(numbers)
        if self.path is not None:
            self.rows.append({"epoch": epoch, **numbers})
            write_rows(self.path, self.rows)


def gate_numbers(traced):
    """The `summary` of a trace in one flat dict."""
    flat = {}
    for place, entries in summary(traced).items():
        for name, entry in entries.items():
            if isinstance(entry, dict):
                flat |= {f"{place}/{name}/{key}": value for key, value in entry.items()}
            else:
                flat[f"{place}/{name}"] = entry
    return flat


def gradient_numbers(flow):
    """The norms at the two ends of a `gradient_flow` in one flat dict."""
    flat = {}
    for place, states in flow.items():
        for name, norms in states.items():
            first, last = _ends(norms)
            flat |= {f"{place}/{name}/gradient_first": first, f"{place}/{name}/gradient_last": last}
    return flat


def _ends(norms):
    """The mean norm at the first and at the last unmasked step of each sequence that has one."""
    counts = ~np.isnan(norms)
    some = counts.any(axis=1)
    rows = np.arange(len(norms))[some]
    first = counts[some].argmax(axis=1)
    last = norms.shape[1] - 1 - counts[some, ::-1].argmax(axis=1)
    return float(norms[rows, first].mean()), float(norms[rows, last].mean())


def write_rows(path, rows):
    """Write dicts with the same keys as a CSV file; an existing file at `path` is replaced as a whole."""
    with (
        written_whole(path, "table", replace=True) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
