"""Label files of texts by a trained run: `python -m experiments.score RUN --input FILES --output DIR`."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from experiments.common.cluster import connected, library_of_ray
from experiments.common.errors import InputError
from experiments.common.options import Parser, command_line, positive, whole
from experiments.score.actors import scored
from experiments.score.pieces import files_of
from experiments.score.scorer import items, load_labeller, part_name
from keras_gates._files import written_whole

# the names begin with what readers of a folder of tables pass over
PLAN, SUMMARY = "_plan.json", "_summary.json"
DESCRIPTION = """Give every row of .csv, .jsonl or .parquet files the most probable label of its text and the
probability of it, in two columns more, on every core of this machine or of a Ray cluster. The same command
continues after any interruption. On a cluster, all machines must see the run, the input and the output under
the same paths."""


def score(parser, options):
    output = Path(options.output)
    if output.exists():
        raise InputError(f"{output} exists; give --output another name.")
    library_of_ray("experiments.score", "data")
    files, form = files_of(options.input)
    pieces = [piece for file in files for piece in form.cut(file, options.text_column, options.rows)]
    if not pieces:
        raise InputError(f"There are no rows in {', '.join(files)}.")
    load_labeller(options.run)
    partial = output.with_name(f"{output.name}.partial")
    try:
        with connected(options.address) as ray:
            _begin(partial, _plan(options, files))
            summary = _scored(ray, options, pieces, partial)
    except KeyboardInterrupt as stop:
        raise type(stop)("The same command continues.") from None
    _write_json(partial / SUMMARY, summary)
    os.rename(partial, output)
    print(f"Written to {output}: {len(pieces)} part{'s' * (len(pieces) > 1)}.")
    print(described(summary))


def _plan(options, files):
    """What the parts of an unfinished output depend on."""
    model = Path(options.run, "saved_model", "SHA256SUMS").read_bytes()
    stats = [os.stat(file) for file in files]
    return {
        "model": hashlib.sha256(model).hexdigest(),
        "text_column": options.text_column,
        "rows": options.rows,
        "input": [[file, stat.st_size, stat.st_mtime_ns] for file, stat in zip(files, stats, strict=True)],
    }


def _begin(partial, plan):
    """Make the folder, or check that its parts are of the same plan."""
    if not partial.exists():
        partial.mkdir(parents=True)
        _write_json(partial / PLAN, plan)
        return
    try:
        kept = json.loads((partial / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    if kept != plan:
        raise InputError(
            f"{partial} is not the unfinished output of this run for these files; "
            "remove it, or give --output another name."
        )


def _write_json(path, content):
    with written_whole(path, replace=True) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _scored(ray, options, pieces, partial):
    """Score the pieces that have no part yet; returns how many rows these are, and how fast it went."""
    left = [
        number for number, piece in enumerate(pieces) if not (partial / part_name(number, piece)).exists()
    ]
    if len(left) < len(pieces):
        print(f"{len(pieces) - len(left)} of {len(pieces)} parts are there already.", flush=True)
    run, folder = os.path.abspath(options.run), os.path.abspath(partial)
    total = sum(pieces[number].rows for number in left)
    began = time.perf_counter()
    rows = empty = 0
    busy = 0.0
    for done in scored(ray, run, items(pieces, left), options.text_column, folder, options.actors):
        rows, empty, busy = rows + done["rows"], empty + done["empty"], busy + done["seconds"]
        print(f"{rows:,} of {total:,} rows", flush=True)
    seconds = time.perf_counter() - began
    summary = {
        "rows": rows,
        "without_text": empty,
        "seconds": round(seconds, 2),
        "busy_seconds": round(busy, 2),
    }
    if options.price_per_hour is not None and rows:
        summary["cost_per_million"] = options.price_per_hour * seconds / 3600 * 1e6 / rows
    return summary


def described(summary):
    """The summary in words."""
    lines = []
    if rows := summary["rows"]:
        whole, each = rows / summary["seconds"], rows / summary["busy_seconds"]
        lines.append(
            f"{rows:,} rows in {summary['seconds']:.1f} s: {whole:,.0f} a second with the start; "
            f"{each:,.0f} a second in each actor."
        )
    if empty := summary["without_text"]:
        lines.append(f"{empty:,} rows have no text, and so no label.")
    if "cost_per_million" in summary:
        lines.append(f"A million texts cost {summary['cost_per_million']:.4g} at this price and speed.")
    return "\n".join(lines)


def score_parser():
    parser = Parser(prog="python -m experiments.score", description=DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="folder of a finished run that labels texts")
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="FILE",
        help="files of one format, or patterns in quotes, such as 'part-*.parquet'",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder that is made for the answers")
    parser.add_argument("--text-column", default="text", metavar="COLUMN", help="name of the column of texts")
    parser.add_argument("--rows", type=whole(1), default=10_000, help="rows of a file of answers at most")
    parser.add_argument("--actors", type=whole(1), help="processes of one core each; by default one a core")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="a Ray cluster, as `ray start --head` names it; by default one of this machine alone",
    )
    parser.add_argument(
        "--price-per-hour",
        type=positive,
        metavar="PRICE",
        help="price of all machines together, by which the cost of a million texts is told",
    )
    return parser


def main(arguments=None):
    return command_line({"score": (score_parser(), score)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
