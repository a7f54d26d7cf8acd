"""The README and the pages in docs: their Python runs from top to bottom, as a reader would run it; their
commands are understood; their links lead somewhere.
"""

import importlib
import re
import shlex
from pathlib import Path

import keras
import pytest

from experiments.common.options import command_line
from keras_gates import cell_classes

ROOT = Path(__file__).parents[1]
# migration.md speaks of models of the reader's, and runtimes.md of a folder exported before.
PAGES = [
    "README.md",
    "README.ko.md",
    *(
        f"docs/{page}.md"
        for page in ("attention", "cells", "crf", "first_hour", "inside", "pictures", "writing")
    ),
]


# a block, and the file that it is to be saved as, if the sentence before says so
PYTHON = r"(?:Save this as `([\w.]+)`[^\n]*\n\n)?^```python\n(.*?)^```"


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="a picture is drawn, which needs keras_gates[plots]")
    monkeypatch.chdir(tmp_path)
    # a page registers a cell of its own
    monkeypatch.setattr("keras_gates.cells.base._CELLS", cell_classes())
    text = (ROOT / page).read_text(encoding="utf-8")
    if "import onnxruntime" in text:
        pytest.importorskip("onnxruntime")
    blocks = re.findall(PYTHON, text, re.MULTILINE | re.DOTALL)
    assert blocks
    keras.utils.clear_session()  # a reader's layers are the first of their names
    monkeypatch.syspath_prepend(tmp_path)
    names = {"__name__": "page"}
    for file, block in blocks:
        if file:
            (tmp_path / file).write_text(block, encoding="utf-8")
        else:
            exec(compile(block, page, "exec"), names)


def commands():
    """The command lines of our modules in the pages, as (page, words)."""
    for page in [*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        shell = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in "\n".join(shell).splitlines():
            if "python -m experiments." in line:
                command = re.split(" [<>] ", line[line.index("python -m experiments.") :])[0]
                yield page.name, shlex.split(command, comments=True)


OWN = """
from keras_gates.cells import GatedCell

class Keeper(GatedCell):
    gates, states, remember = ("f",), ("h",), "f"

class MyCell(Keeper):
    pass
"""


def test_every_command_of_the_pages_is_understood(tmp_path, monkeypatch, capsys):
    """The module takes the command line; what it then does is not done here."""
    pytest.importorskip("uvicorn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras_gates.cells.base._CELLS", cell_classes())
    (tmp_path / "my_cell.py").write_text(OWN)

    def understand(given, arguments):
        return command_line(
            {name: (parser, lambda *_: None) for name, (parser, _) in given.items()}, arguments
        )

    found = list(commands())
    assert len(found) > 50
    refused = []
    for page, (_, _, module, *arguments) in found:
        main = importlib.import_module(f"{module}.__main__")
        monkeypatch.setattr(main, "command_line", understand)
        if main.main(arguments):
            refused.append((page, capsys.readouterr().err))
    assert not refused


def test_the_readme_and_the_page_have_the_same_cells():
    readme, page = (
        (ROOT / name).read_text(encoding="utf-8").partition("| short name |")[2].partition("\n\n")[0]
        for name in ("README.md", "docs/cells.md")
    )
    assert page and page == readme


def test_every_link_of_the_pages_leads_to_a_file():
    for page in [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\(([^)#\s]+)", text)
        missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert not missing, f"{page.name}: {missing}"
