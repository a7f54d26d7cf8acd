"""Finished runs side by side, as a Markdown table: `python -m experiments.report RUN …`."""

import sys

from experiments.common.options import Parser, command_line
from experiments.common.run_folder import read_config, read_metrics

COLUMNS = ("cell", "parameters", "seconds_per_epoch", "epochs", "test_accuracy", "test_f1", "seed")


def table(runs, columns=COLUMNS):
    """Finished runs as a Markdown table, one run a row.

    runs: paths of run folders.
    columns: names of metrics, or of options where no metric has that name.
    """
    rows = [columns, ["---"] * len(columns)]
    for run in runs:
        known = {**read_config(run)["options"], **read_metrics(run)}
        rows.append([_cell(known.get(column, "")) for column in columns])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("_", " ")


def _cell(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if value < 1 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def report(parser, options):
    print(table(options.runs, options.columns.split(",")))


def main(arguments=None):
    parser = Parser(
        prog="python -m experiments.report",
        description="Print finished runs side by side as a Markdown table.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--columns", default=",".join(COLUMNS), help="names of metrics or options, with commas between them"
    )
    return command_line({"report": (parser, report)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
