"""The README's Python, run from top to bottom as a reader would."""

import re
from pathlib import Path

import keras
import pytest

from keras_gates import cell_classes

README = Path(__file__).parents[1] / "README.md"


def test_every_python_block_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the README draws a picture, which needs keras_gates[plots]")
    monkeypatch.chdir(tmp_path)
    # the README registers a cell of its own
    monkeypatch.setattr("keras_gates.cells.base._CELLS", cell_classes())
    blocks = re.findall(
        r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) >= 6
    keras.utils.clear_session()  # a reader's layers are the first of their names
    names = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "exported" / "saved_model.pb").is_file()
