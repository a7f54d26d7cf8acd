"""The book of gates: what its sources promise, without building it."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PARTS = ("attention", "cells", "convert", "introspect", "layers", "opened", "writing")
# the one public name that is a module; its functions are listed each
MODULES = {"keras_gates.introspect.plots"}


@pytest.fixture(scope="module")
def extensions():
    """Imports a module of the book's own extensions, or `build`."""
    sys.path[:0] = [str(DOCS), str(DOCS / "_extensions")]
    yield importlib.import_module
    del sys.path[:2]


def public_names():
    for part in ("", *(f".{part}" for part in PARTS)):
        module = importlib.import_module(f"keras_gates{part}")
        yield from (f"keras_gates{part}.{name}" for name in module.__all__)


def documented():
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    return re.findall(r"^\.\. (?:auto|py:)\w+:: (\S+)", pages, re.MULTILINE)


def resolved(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def test_every_public_name_stands_in_the_reference_once():
    listed = documented()
    assert len(listed) == len(set(listed))
    things = {id(resolved(name)) for name in listed}
    missing = [n for n in public_names() if n not in MODULES and id(resolved(n)) not in things]
    assert not missing
    plots = importlib.import_module("keras_gates.introspect.plots")
    drawn = {
        n for n, f in vars(plots).items() if getattr(f, "__module__", "") == plots.__name__ and n[0] != "_"
    }
    assert {f"keras_gates.introspect.plots.{name}" for name in drawn} <= set(listed)


def test_every_paper_that_a_class_names_has_a_link(extensions):
    papers = extensions("papers").PAPERS
    sources = {getattr(resolved(n), "source", "") for n in documented() if isinstance(resolved(n), type)}
    named = {paper for source in sources if isinstance(source, str) for paper in source.split("; ")}
    years = {paper for paper in named if re.search(r"\d{4}", paper)}
    assert len(years) > 20
    assert not [paper for paper in years if not any(known in paper for known in papers)]


@pytest.mark.parametrize(
    ("lines", "tex"),
    [
        (["h' = f ⊙ h"], r"h' &= f \odot h"),
        (["i = σ(W_i x)        f likewise"], r"i &= \sigma ( W_{i} x ) \qquad \text{f likewise}"),
        (["a = b_Un", "c = d²"], r"a &= b_{\mathrm{Un}} \\ c &= d ^{2}"),
        (["y = x        project=False"], r"y &= x \qquad \text{project=False}"),
        (["κ' = κ + exp κ̂"], r"\kappa' &= \kappa + \exp \hat{\kappa}"),
        (["y = tanh(x)"], r"y &= \mathrm{tanh} ( x )"),
    ],
)
def test_equations_of_docstrings_become_tex(extensions, lines, tex):
    ours = extensions("equations").aligned(lines)
    assert re.sub(r"\s+", "", ours) == re.sub(r"\s+", "", rf"\begin{{aligned}}{tex}\end{{aligned}}")


def test_every_symbol_of_the_equations_is_known_to_tex(extensions):
    rewrite = extensions("docstrings").rewrite
    unknown = {}
    for name in documented():
        lines = inspect.cleandoc(getattr(resolved(name), "__doc__", None) or "").splitlines()
        rewrite(None, "data", name, None, None, lines)
        formulas = [line for line in lines if r"\begin{aligned}" in line]
        symbols = {c for line in formulas for c in re.sub(r"\\text\{[^}]*\}", "", line) if not c.isascii()}
        if symbols:
            unknown[name] = symbols
    assert not unknown


def test_a_signature_names_its_types(extensions):
    made = "str | dict[str, ~typing.Any]{} | ~collections.abc.Callable[[...], ~typing.Any] | None = {!r}"
    given = f"(a: {made.format('', 'tanh')}, b: {made.format(' | ~some.where.Initializer', 'zeros')}, c: int)"
    shown, returned = extensions("docstrings").name_types(None, "class", "X", None, None, given, "None")
    assert shown == "(a: Activation = 'tanh', b: Initializer = 'zeros', c: int)"
    assert returned == "None"


def test_a_dead_link_a_lost_anchor_and_a_foreign_file_are_faults(extensions, tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="b.html#here"></a><a href="#top"></a><a href="b.html#gone"></a>'
        '<a href="c.html"></a><a href="https://example.org/x"></a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p><script src="https://example.org/s.js"></script>')
    faults = extensions("build").check(tmp_path)
    assert sorted(faults) == ["a.html: b.html#gone", "a.html: c.html", "b.html: https://example.org/s.js"]


def test_every_picture_stands_in_the_gallery_with_its_command():
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    results = (DOCS / "results.md").read_text(encoding="utf-8")  # its pictures have the commands beside them
    assert not [path.name for path in DOCS.glob("*.png") if path.name not in gallery + results]
    for section in gallery.split("\n## ")[1:]:
        command = "```sh\npython benchmarks/" if "linear.png" in section else "```sh\npython -m experiments."
        assert "![" in section and command in section, section


KOREAN = sorted((DOCS / "locales").rglob("*.po"))


def entries(path):
    """The English and the Korean texts of a page, each on one line of its file."""
    found = re.findall(r'^msgid "(.+)"\nmsgstr "(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    return [tuple(re.sub(r"\\(.)", r"\1", text) for text in pair) for pair in found]


def english(path):
    """The page that a Korean one translates."""
    page = path.relative_to(DOCS / "locales" / "ko" / "LC_MESSAGES").with_suffix(".md")
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", KOREAN, ids=lambda path: path.stem)
def test_korean_follows_the_english_page(path):
    """No translation of a paragraph that has changed, and no paragraph without one."""
    left_out = r"\A---.*?^---$|^```.*?^```$|^\$\$.*?\$\$$"
    page = re.sub(left_out, "", english(path), flags=re.MULTILINE | re.DOTALL)
    text = " ".join(page.split())
    translated = dict(entries(path))
    captions = set(re.findall(r"^:caption: (.+)$", english(path), re.MULTILINE))
    formulas = {key for key in translated if key == translated[key]}
    assert not [key for key in translated if key not in text and key not in captions | formulas]
    blocks = re.split(r"\n\n|\n(?=- )", page.strip())
    paragraphs = [re.sub(r"^(#+|-) ", "", " ".join(block.split())) for block in blocks if block.strip()]
    plain = [paragraph for paragraph in paragraphs if not paragraph.startswith("|")]
    assert plain
    assert not [paragraph for paragraph in plain if not translated.get(paragraph)]


def test_the_korean_pages_use_the_words_of_the_glossary():
    """Where the English says a term of the glossary, the Korean says its Korean term."""
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = r"^\| ([a-z]+ gate|memory cell|vanishing gradient|bidirectional|peephole) \| ([^|(]+?) [|(]"
    rows = re.findall(terms, glossary, re.MULTILINE)
    assert len(rows) >= 7
    pairs = [pair for path in KOREAN if path.stem != "glossary" for pair in entries(path)]
    lacking = [
        (term, korean)
        for source, korean in pairs
        for term, word in rows
        if term in source.lower() and word not in korean
    ]
    assert not lacking
