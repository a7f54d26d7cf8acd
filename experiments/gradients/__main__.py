"""How far a gradient reaches back, and why: `python -m experiments.gradients`.

Each cell learns to copy: one symbol somewhere among blanks, and at the last step the question which it was
(the copy problem of Hochreiter & Schmidhuber 1997 and Arjovsky et al. 2016, with one symbol). Before and
after, with the symbol at the first step, the gradient of the loss is measured with respect to
every state of every step.

A hidden state's gradient passes a matrix product and a tanh at every step back. A memory's passes a product
with the forget gate, unit by unit; what that alone leaves of it, the mean over units of the product of all
forget gates on the way, stands beside the memories as the state "forget gates".
"""

import csv
import sys
import time
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

import keras_gates
from experiments.common import training
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, positive, whole
from keras_gates.introspect import plots

CELLS = ("simple", "clockwork", "gru", "lstm", "peephole", "coupled")
SYMBOLS = 8
SEQUENCES = 64  # over which gradients are averaged
GONE = 1e-3  # a gradient below this share of the last output's counts as gone
FORGET = "forget gates"


def copy_problem(starts, length, rng):
    """Inputs (sequences, length, SYMBOLS + 1), one-hot, the last feature the question; targets (sequences,).

    starts: the step at which each sequence shows its symbol, (sequences,).
    """
    sequences = len(starts)
    targets = rng.integers(SYMBOLS, size=sequences)
    inputs = np.zeros((sequences, length, SYMBOLS + 1), "float32")
    inputs[np.arange(sequences), starts, targets] = 1
    inputs[:, -1, -1] = 1
    return inputs, targets.astype("int32")


def network(cell, units, length):
    recurrent = keras_gates.RNN(keras_gates.cell_classes()[cell](units), name="recurrent")
    return keras.Sequential(
        [keras.layers.Input((length, SYMBOLS + 1)), recurrent, keras.layers.Dense(SYMBOLS, name="logits")]
    )


def reach(model, inputs, targets):
    """Norms by state, each an array by distance, as shares of that of the last output's gradient.

    They are means over the sequences. Distance 0 is the last step, whose memory nothing follows.
    """
    flow = keras_gates.gradient_flow(model, inputs, targets)["recurrent"]
    norms = {state: values.mean(axis=0)[::-1] for state, values in flow.items() if state != "t"}
    shares = {state: values / norms["h"][0] for state, values in norms.items()}
    if "c" in shares:
        forget = keras_gates.trace(model, inputs)["recurrent"]["f"]
        # the memory of distance d has passed the forget gates of distances d - 1, …, 0
        passed = np.cumprod(forget[:, ::-1], axis=1).mean(axis=(0, 2))
        shares[FORGET] = np.concatenate([[1.0], passed[:-1]])
    return shares


def measure(cell, options):
    """Train one cell; its shares before and after, and how well it copies."""
    keras.utils.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    examples = copy_problem(np.zeros(SEQUENCES, int), options.length, rng)
    model = network(cell, options.units, options.length)
    model.compile(
        optimizer=keras.optimizers.Adam(options.learning_rate, clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    initial = reach(model, *examples)
    # Symbols at every distance: one that is near is learned first, and leads on to those further back.
    starts = rng.integers(options.length - 1, size=options.steps * options.batch_size)
    model.fit(
        *copy_problem(starts, options.length, rng),
        batch_size=options.batch_size,
        verbose=0,
    )
    accuracy = model.evaluate(*examples, verbose=0, return_dict=True)["accuracy"]
    return {"initial": initial, "trained": reach(model, *examples)}, accuracy


def falls_below(shares):
    """The first distance at which less than `GONE` arrives, or None. At distance 0 no memory receives any."""
    below = np.flatnonzero(shares[1:] < GONE)
    return int(below[0]) + 1 if below.size else None


def table(measured, accuracies):
    """A Markdown table: for every path back, the distance at which its gradient has fallen below `GONE`."""
    rows = ["| cell | state | before training | after training | copies |", "|---|---|---|---|---|"]
    for cell, times in measured.items():
        for state in times["initial"]:
            steps = [falls_below(times[when][state]) for when in ("initial", "trained")]
            told = ["never" if step is None else f"{step} steps" for step in steps]
            rows.append(f"| {cell} | {state} | {' | '.join(told)} | {accuracies[cell]:.0%} |")
    return "\n".join(rows)


def picture(measured):
    """Left before, right after training; in colour the path each cell remembers by."""
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


def run(parser, options):
    out = Path(options.out) if options.out else training.free_path("runs/gradients")
    if out.exists():
        raise InputError(f"{out} exists; give --out another name.")
    measured, accuracies = {}, {}
    for cell in options.cells:
        began = time.perf_counter()
        measured[cell], accuracies[cell] = measure(cell, options)
        seconds = time.perf_counter() - began
        print(
            f"{cell}: copies {accuracies[cell]:.0%} after {options.steps} batches, {seconds:.0f} s",
            flush=True,
        )
    write(out, measured, accuracies)
    print(table(measured, accuracies))
    print(f"Written to {out}: gradients.csv, gradients.png, table.md")


def write(out, measured, accuracies):
    beside = out.with_name(f"{out.name}.partial")
    beside.mkdir(parents=True, exist_ok=True)
    write_numbers(measured, beside / "gradients.csv")
    picture(measured).savefig(beside / "gradients.png", dpi=130)
    (beside / "table.md").write_text(table(measured, accuracies) + "\n", encoding="utf-8")
    beside.rename(out)


def main(arguments=None):
    parser = Parser(
        prog="python -m experiments.gradients",
        description="Measure how far the gradient of each cell reaches back, before and after training.",
    )
    parser.add_argument(
        "--cells", nargs="+", choices=keras_gates.cell_classes(), default=CELLS, metavar="CELL"
    )
    parser.add_argument("--length", type=whole(3), default=100, help="steps of a sequence")
    parser.add_argument("--units", type=whole(4), default=32, help="width of the recurrent layer")
    parser.add_argument("--steps", type=whole(1), default=2000, help="batches of training")
    parser.add_argument("--batch-size", type=whole(1), default=32, help="sequences in a batch")
    parser.add_argument("--learning-rate", type=positive, default=1e-2, help="step size of Adam")
    parser.add_argument(
        "--seed", type=whole(0, 2**32 - 1), default=0, help="same seed and machine, same result"
    )
    parser.add_argument(
        "--out", metavar="RUN", help="the folder to write; by default the next free runs/gradients"
    )
    return command_line({"run": (parser, run)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
