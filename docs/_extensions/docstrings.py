"""From the docstrings of the package, which read well in a terminal, to reStructuredText."""

import ast
import re
from pathlib import Path

import equations
from papers import linked

TESTS = Path(__file__).parents[2] / "tests"
# Sphinx prints the union behind `Activation`, `Initializer` and their like instead of the name.
UNION = re.compile(
    r"str \| dict\[str, \S*Any\](?: \| \S*\b(Initializer|Regularizer|Constraint))?"
    r" \| \S*Callable\[\[?\.\.\.\]?, \S*Any\] \| None"
)
SECTION = re.compile(r"^(Args|Call arguments|Attributes|Returns|Yields|Raises):$")


def setup(app):
    # before Napoleon, which has the priority 500
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    app.connect("autodoc-process-signature", name_types)
    return {"parallel_read_safe": True}


def name_types(app, what, name, thing, options, signature, returned):
    if signature:
        signature = UNION.sub(lambda match: match[1] or "Activation", signature)
    return signature, returned


def rewrite(app, what, name, thing, options, lines):
    lines[:] = list(_with_blocks(lines))
    if what in ("class", "function", "exception") and lines:
        lines += [*_source(thing), *_tests(name.rpartition(".")[2])]


def _with_blocks(lines):
    """The lines; indented blocks outside of Napoleon's sections become mathematics or Python."""
    section, block = False, []
    for line in [*lines, ""]:
        if SECTION.match(line):
            section = True
        elif line and not line.startswith(" "):
            section = False
        if line.startswith("    ") and not section:
            block.append(line[4:])
            continue
        yield from _directive(block)
        block = []
        yield _marked(line)
    yield from _directive(block)


def _marked(line):
    """The line in reStructuredText: code between double backticks, special characters escaped."""
    pieces = re.split(r"`([^`]+)`", line)
    pieces[::2] = (re.sub(r"(?<=, )\*\*|\|", r"\\\g<0>", piece) for piece in pieces[::2])
    pieces[1::2] = (f"``{code}``" for code in pieces[1::2])
    return "".join(pieces)


def _directive(block):
    """A directive for the lines of a block; nothing for no lines."""
    if not block:
        return
    code = [line.replace("…", "...") for line in block]
    if _is_python("\n".join(code)):
        yield from ["", ".. code-block:: python", "", *(f"    {line}" for line in code), ""]
    else:
        yield from ["", ".. math::", "", f"    {equations.aligned(block)}", ""]


def _is_python(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _source(thing):
    source = getattr(thing, "source", None) or getattr(getattr(thing, "cell_class", None), "source", None)
    return ["", f":Source: {linked(source)}", ""] if isinstance(source, str) else []


def _tests(name):
    """The files of tests that name it; those that run over the table of all cells come first."""
    in_table = any(_names(TESTS / "laws.py", cell) for cell in (name, f"{name}Cell"))
    every_cell = ["test_oracles.py", "test_laws.py"] if in_table else []
    naming = [path.name for path in sorted(TESTS.glob("test_*.py")) if _names(path, name)]
    files = dict.fromkeys([*every_cell, *naming])
    shown = ", ".join(f"``tests/{file}``" for file in list(files)[:5])
    return ["", f":Tested in: {shown}", ""] if files else []


def _names(path, name):
    return re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) is not None
