"""CONTRIBUTING.md tells which files one touches: held to those that name its examples."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# By section: what names the example, and where it is looked for.
EXAMPLES = {
    "Add a cell": (
        "janet",
        "keras_gates/*",
        "keras_gates/*/*",
        "tests/oracles.py",
        "tests/laws.py",
        "README.md",
        "docs/cells.md",
    ),
    "Add a kernel": (
        "min_?gru",
        "keras_gates/kernels/*",
        "keras_gates/kernels/source/*",
        "tests/kernel_problems.py",
    ),
    "Add a task": ("reversal", "experiments/*/*.py", ".importlinter"),
}


def listed(section):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    body = text.split(f"## {section}\n")[1].split("\n## ")[0]
    items = (line.partition(":")[0] for line in body.splitlines() if line.startswith("- `"))
    return {ROOT / path for item in items for path in re.findall(r"`([^`]+)`", item)}


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_files_listed_are_those_that_name_the_example(section):
    name, *patterns = EXAMPLES[section]
    places = {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}
    if section == "Add a cell":
        places = {path for path in places if path.parent.name != "kernels"}
    naming = {
        path
        for path in places
        if re.search(name, f"{path.relative_to(ROOT)}{path.read_text(encoding='utf-8')}", re.IGNORECASE)
    }
    assert naming == listed(section) & places
    assert all(path.is_file() for path in listed(section))
