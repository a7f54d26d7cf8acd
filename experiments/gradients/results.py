"""What was measured, as a table, a picture and numbers in a folder."""

import csv

from matplotlib.figure import Figure

from experiments.common.figures import save_png
from experiments.gradients.reach import FORGET, GONE, falls_below
from keras_gates._files import written_whole
from keras_gates.introspect import plots


def table(measured, accuracies):
    """A Markdown table: for every state, the distance at which its gradient has fallen below `GONE`."""
    rows = ["| cell | state | before training | after training | copies |", "|---|---|---|---|---|"]
    for cell, times in measured.items():
        for state in times["initial"]:
            steps = [falls_below(times[when][state]) for when in ("initial", "trained")]
            cells = ["never" if step is None else f"{step} steps" for step in steps]
            rows.append(f"| {cell} | {state} | {' | '.join(cells)} | {accuracies[cell]:.0%} |")
    return "\n".join(rows)


def picture(measured):
    """Before training on the left, after it on the right; in colour the state that each cell remembers by."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for when, axes in (("initial", left), ("trained", right)):
        curves = {
            f"{cell} {state}": times[when][state]
            for cell, times in measured.items()
            for state in ("c" if "c" in times[when] else "h",)
        }
        if "lstm" in measured:
            curves |= {f"lstm {state}": measured["lstm"][when][state] for state in ("h", FORGET)}
        plots.gradient_norms(curves, axes, floor=GONE)
        dashed = {"lstm h": "--", f"lstm {FORGET}": ":"}
        for line in axes.lines[: len(curves)]:
            if line.get_label() in dashed:
                line.set(linestyle=dashed[line.get_label()], color="black")
        axes.set(title="before training" if when == "initial" else "after training", ylim=(1e-9, 1e2))
        axes.legend(fontsize=8, frameon=False, ncols=2)
    left.set_ylabel("norm of the gradient / that of the last output")
    right.set_ylabel("")
    return figure


def write_numbers(measured, path):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("cell", "when", "state", "distance", "share"))
        for cell, times in measured.items():
            for when, states in times.items():
                for state, shares in states.items():
                    writer.writerows(
                        (cell, when, state, at, f"{share:.6g}") for at, share in enumerate(shares)
                    )


def write(out, measured, accuracies):
    with written_whole(out, "measurement") as partial:
        partial.mkdir()
        write_numbers(measured, partial / "gradients.csv")
        save_png(picture(measured), partial / "gradients.png", dpi=130)
        (partial / "table.md").write_text(table(measured, accuracies) + "\n", encoding="utf-8")
