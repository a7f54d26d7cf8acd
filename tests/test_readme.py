"""The Python of the README and of the pages in docs, each run from top to bottom as a reader would."""

import re
from pathlib import Path

import keras
import pytest

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


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="a picture is drawn, which needs keras_gates[plots]")
    monkeypatch.chdir(tmp_path)
    # a page registers a cell of its own
    monkeypatch.setattr("keras_gates.cells.base._CELLS", cell_classes())
    text = (ROOT / page).read_text(encoding="utf-8")
    if "import onnxruntime" in text:
        pytest.importorskip("onnxruntime")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    keras.utils.clear_session()  # a reader's layers are the first of their names
    names = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_every_link_of_the_pages_leads_to_a_file():
    for page in [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\(([^)#\s]+)", text)
        missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
        assert not missing, f"{page.name}: {missing}"
