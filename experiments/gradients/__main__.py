"""How far a gradient reaches back, and why: `python -m experiments.gradients`.

Each cell learns to copy: one symbol somewhere among blanks, and at the last step the question which it was
(the copy problem of Hochreiter & Schmidhuber 1997 and Arjovsky et al. 2016, with one symbol). Before and
after, with the symbol at the first step, the gradient of the loss is measured with respect to
every state of every step.

A hidden state's gradient passes a matrix product and a tanh at every step back. A memory's passes a product
with the forget gate, unit by unit; what that alone leaves of it, the mean over units of the product of all
forget gates on the way, stands beside the memories as the state "forget gates".
"""

import sys
import time
from pathlib import Path

import keras_gates
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, positive, whole
from experiments.common.run_folder import free_path
from experiments.gradients.reach import measure
from experiments.gradients.results import table, write

CELLS = ("simple", "clockwork", "gru", "lstm", "peephole", "coupled")


def run(parser, options):
    out = Path(options.out) if options.out else free_path("runs/gradients")
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
