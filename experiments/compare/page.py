"""A page of comparisons that is there: what it says of each, and the trials in the CSV file beside it."""

import csv
import re

from experiments.common.errors import InputError, reason_of

TITLE = "# Cells compared"
COLUMNS = (
    *("comparison", "task", "budget", "cell", "seed", "sampler", "number", "settings"),
    *("outcome", "measure", "value", "cost", "parameters", "seconds"),
)


def read_page(path):
    """(sections, trials) of the page at `path`, by the name of the comparison; empty if there is none.

    Trials are rows of strings as in `COLUMNS`. Those of a comparison that the page does not have are left
    out: its section was removed, or its page was not written to the end.

    Raises `InputError` if one of the two files is missing, or is another kind of file.
    """
    table = path.with_suffix(".csv")
    if not path.exists() and not table.exists():
        return {}, {}
    for file, other in ((path, table), (table, path)):
        if not file.exists():
            raise InputError(f"{other} is there without {file.name}: give both, or name another page.")
    try:
        sections, trials = _sections(path), _trials(table)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path} and {table.name} are no page of comparisons: {reason_of(error)}."
        ) from error
    if missing := sorted(sections.keys() - trials.keys()):
        raise InputError(f"{table} has no trials of {missing[0]}, which {path.name} has.")
    return sections, {name: trials[name] for name in sections}


def _sections(path):
    title, *sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if title.strip() != TITLE:
        raise ValueError(f"{path.name} does not begin with {TITLE!r}")
    return {section.partition("\n")[0]: f"## {section.strip()}" for section in sections}


def _trials(path):
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(filter(None, csv.reader(file))) or [[]]
    if tuple(head) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError(f"{path.name} has other columns than {', '.join(COLUMNS)}")
    trials = {}
    for row in rows:
        trials.setdefault(row[0], []).append(row)
    return trials
