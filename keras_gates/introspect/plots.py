"""Pictures of a trace and of a gradient flow. They need matplotlib: `pip install keras_gates[plots]`."""

import numpy as np

from keras_gates.introspect.statistics import gates_of, saturation


def _pyplot():
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install keras_gates[plots].") from error
    return pyplot


def gate_maps(layer, tokens=None, sequence=0, names=None):
    """Heat maps of one sequence, one for each gate and state: time to the right, a unit in every row.

    Gates run from 0, shut, to 1, open; candidates and states from blue, negative, to red, positive.

    Args:
        layer: one layer of a trace, `{name: (batch, time, units)}`.
        tokens: the text of each step, as labels of the time axis.
        sequence: its index in the batch.
        names: the gates and states to draw; by default all.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    plt = _pyplot()
    names = list(names or layer)
    steps = layer[names[0]].shape[1]
    width = min(16, max(6, 0.16 * steps))
    figure, axes = plt.subplots(
        len(names), figsize=(width, 1.5 * len(names)), sharex=True, squeeze=False, layout="constrained"
    )
    gates = gates_of(layer)
    for name, ax in zip(names, axes[:, 0], strict=True):
        values = layer[name][sequence].astype("float64").reshape(steps, -1).T
        reach = np.nanmax(np.abs(values), initial=1e-12)
        colours = (
            {"cmap": "viridis", "vmin": 0, "vmax": 1}
            if name in gates
            else {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        )
        image = ax.imshow(values, aspect="auto", interpolation="nearest", **colours)
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.set_yticks([])
        figure.colorbar(image, ax=ax, pad=0.01)
    if tokens is not None:
        axes[-1, 0].set_xticks(range(steps), tokens[:steps], rotation=90, fontsize=7)
    else:
        axes[-1, 0].set_xlabel("step")
    return figure


def openness(trace):
    """Histograms of how far gates are open, over all unmasked steps and all units: a row for each layer."""
    plt = _pyplot()
    figure, axes = _grid(plt, trace, (2.3, 1.9))
    for (place, layer), row in zip(trace.items(), axes, strict=True):
        for (gate, values), ax in zip(gates_of(layer).items(), row, strict=False):
            known = values[~np.isnan(values)].astype("float64")
            shares = np.full(known.size, 1 / known.size)
            ax.hist(known, bins=40, range=(0, 1), weights=shares, color="#33658a")
            ax.set_title(f"{place}  {gate}", fontsize=9)
            ax.set_xlim(0, 1)
        row[0].set_ylabel("share of steps")
    for ax in axes[-1]:
        ax.set_xlabel("gate")
    return figure


def saturation_scatter(trace, shut_below=0.1, open_above=0.9):
    """Each unit by the fractions of time its gates are open (right) and shut (up): a row for each layer.

    After Karpathy, Johnson & Fei-Fei 2015, figure 3. On the diagonal a gate is always either open or shut.
    """
    plt = _pyplot()
    figure, axes = _grid(plt, trace, (2.4, 2.4))
    for (place, gates), row in zip(saturation(trace, shut_below, open_above).items(), axes, strict=True):
        for (gate, sides), ax in zip(gates.items(), row, strict=False):
            ax.scatter(sides["open"], sides["shut"], s=14, alpha=0.6, color="#33658a", linewidths=0)
            ax.plot([0, 1], [1, 0], color="0.75", linewidth=0.8, zorder=0)
            ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
            ax.set_title(f"{place}  {gate}", fontsize=9)
        row[0].set_ylabel(f"shut (< {shut_below})")
    for ax in axes[-1]:
        ax.set_xlabel(f"open (> {open_above})")
    return figure


def _grid(plt, trace, size):
    """One row for each layer, with columns for the largest number of gates; unused axes are hidden."""
    counts = [len(gates_of(layer)) for layer in trace.values()]
    columns = max(counts)
    if not columns:
        raise ValueError(f"There is no gate to draw in {', '.join(trace)}.")
    figure, axes = plt.subplots(
        len(trace),
        columns,
        figsize=(size[0] * columns + 0.6, size[1] * len(trace) + 0.4),
        squeeze=False,
        layout="constrained",
    )
    for row, count in zip(axes, counts, strict=True):
        for ax in row[count:]:
            ax.set_axis_off()
    return figure, axes


def gradient_norms(curves, ax=None, floor=None):
    """Gradient norm against the distance in steps back from the loss, on a logarithmic scale.

    Args:
        curves: `{label: norms}`, each norm by its distance, the first at distance zero.
        ax: the axes to draw into; by default those of a new figure.
        floor: a norm to mark with a line, below which a gradient counts as vanished.

    Returns:
        The axes. A norm of exactly zero cannot be shown on this scale and is left out.
    """
    if ax is None:
        ax = _pyplot().figure(figsize=(7, 4.2), layout="constrained").add_subplot()
    for label, norms in curves.items():
        norms = np.asarray(norms, "float64")
        ax.plot(np.where(norms > 0, norms, np.nan), label=label, linewidth=1.6)
    if floor is not None:
        ax.axhline(floor, color="0.6", linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    ax.set(xlabel="distance from the loss, in steps", ylabel="norm of the gradient")
    ax.legend(fontsize=8, frameon=False)
    return ax


def alignment(weights, inputs=None, outputs=None, ax=None):
    """An alignment matrix: how much each step (a row) attends to each position of the memory (a column).

    Args:
        weights: `(time, positions)`, the alignment of one sequence, as a trace has it.
        inputs: the tokens of the memory.
        outputs: the tokens of the steps.
        ax: the axes to draw into; by default those of a new figure.
    """
    if ax is None:
        ax = _pyplot().figure(figsize=(5, 5), layout="constrained").add_subplot()
    ax.imshow(np.asarray(weights, "float64"), cmap="gray", vmin=0, aspect="auto", interpolation="nearest")
    if inputs is not None:
        ax.set_xticks(range(len(inputs)), inputs, rotation=90, fontsize=8)
    if outputs is not None:
        ax.set_yticks(range(len(outputs)), outputs, fontsize=8)
    ax.set(xlabel="memory", ylabel="step")
    return ax
