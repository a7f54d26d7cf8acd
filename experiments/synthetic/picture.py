"""What a network does on a sequence that it was not trained on, as a picture."""

import numpy as np
from matplotlib.figure import Figure

import keras_gates
from experiments.synthetic.network import answers_of
from experiments.synthetic.sequences import TEST
from keras_gates import introspect


def save_picture(task, rule, model, path):
    """Draw a sequence: the inputs, the targets, the answers, and the gates and states of a unit."""
    sequence = task.draw(np.random.default_rng([TEST]), 1, **rule)
    counted = np.flatnonzero(sequence.weights[0])
    length = counted[-1] + 1
    inputs, targets = sequence.inputs[:, :length], sequence.targets[0, :length]
    answers = answers_of(task, model)(inputs)[0]
    layer = next(iter(keras_gates.trace(model, inputs).values()))
    unit, of_unit = busiest_unit(layer)
    figure = Figure(figsize=(10, 7), layout="constrained")
    above, between, middle, below = figure.subplots(4, sharex=True, height_ratios=(2, 2, 2, 3))
    _draw(above, inputs[0], task.features, "inputs")
    wanted = np.where(sequence.weights[0, :length, None] > 0, targets, np.nan)
    _draw(between, wanted, task.outputs, "targets")
    _draw(middle, answers, task.outputs, "answers")
    for name, values in of_unit.items():
        line = "-" if name in introspect.gates_of(layer) else "--"
        below.plot(values, line, label=name)
    below.set(xlabel="step", ylabel=f"unit {unit}")
    below.legend(ncols=8, fontsize=8, frameon=False, loc="upper left")  # searching the best place takes time
    figure.savefig(path, format="png", dpi=110)


def busiest_unit(layer):
    """The unit whose memory changes most over a sequence, and its gates and states by name.

    layer: the trace of a layer for one sequence, {name: (1, time, units)}.
    """
    memory = layer.get("c", layer["h"])[0]
    unit = int(memory.std(axis=0).argmax())
    width = memory.shape[-1]
    return unit, {name: values[0, :, unit] for name, values in layer.items() if values.shape[-1] == width}


def _draw(axes, values, names, title):
    """One or two values as lines, marked where they stand alone; more as a map with a row for each."""
    axes.set_ylabel(title)
    if len(names) > 2:
        axes.imshow(values.T, aspect="auto", interpolation="nearest", cmap="Greys", vmin=0, vmax=1)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        return
    for name, line in zip(names, values.T, strict=True):
        axes.plot(line, ".-", label=name, markersize=3, linewidth=0.8)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
