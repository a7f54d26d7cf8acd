"""From the equations of the docstrings, which are plain text, to TeX."""

import re
import unicodedata

SYMBOLS = {
    "⊙": r"\odot",
    "·": r"\cdot",
    "−": "-",
    "…": r"\ldots",
    "←": r"\leftarrow",
    "∝": r"\propto",
    "Σ": r"\sum",
    "ᵀ": r"^\top",
    "²": "^{2}",
    "∂": r"\partial",
    "∏": r"\prod",
    "ε": r"\varepsilon",
    "φ": r"\varphi",
    "∈": r"\in",
    "≤": r"\le",
    "×": r"\times",
}
LETTERS = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
}
SYMBOLS |= {letter: f"\\{name}" for letter, name in LETTERS.items()}
FUNCTIONS = {"exp", "log", "max", "min"}
HAT = "\N{COMBINING CIRCUMFLEX ACCENT}"
LETTER = r"[^\W\d_²ᵀ]"  # raised characters count as letters otherwise
TOKEN = re.compile(
    rf"`(?P<code>[^`]+)`"
    rf"|(?P<base>{LETTER}+{HAT}?)(?:_(?P<below>[{{][^}}]+[}}]|(?:{LETTER}|\d)+))?(?P<prime>'?)"
    r"|(?P<number>\d+)|(?P<space>\s+)|(?P<other>.)"
)


def aligned(lines):
    """TeX of the lines of an equation block, set below each other at their first relation sign."""
    return r"\begin{aligned}" + r" \\ ".join(_line(line) for line in lines) + r"\end{aligned}"


def _line(line):
    """A line holds equations and remarks, with two or more blanks between them."""
    parts = re.split(r"\s{2,}", line.strip())
    first, *rest = (_equation(part) if re.search(r" [=←∝] ", part) else _text(part) for part in parts)
    relation = re.search(r"=|\\leftarrow|\\propto", first)
    if relation:
        first = f"{first[: relation.start()]}&{first[relation.start() :]}"
    return r" \qquad ".join([first or "&", *rest])


def _text(words):
    return r"\text{" + words.replace("`", "").replace("_", r"\_").replace("^", "") + "}"


def _equation(text):
    decomposed = re.sub(rf"(.){HAT}", rf"\1{HAT}", unicodedata.normalize("NFD", text))
    return "".join(_token(match) for match in TOKEN.finditer(decomposed))


def _token(match):
    if match["base"] is None:
        given = match["code"] or match["number"] or match["space"] or match["other"]
        return _text(given) if match["code"] else SYMBOLS.get(given, given.replace("&", r"\&")) + " "
    base = _name(match["base"])
    if match["below"]:
        inner = match["below"].strip("{}")
        base += "_{" + (_name(inner) if inner.isalpha() else _equation(inner)) + "}"
    elif base.startswith(r"\mathrm") and not match.string.startswith("(", match.end()):
        base = rf"\; {base} \;"  # a word of a sentence
    return base + match["prime"] + " "


def _name(name):
    """A letter stands for a quantity, several letters for a function or a word."""
    if name.endswith(HAT):
        return r"\hat{" + _name(name.removesuffix(HAT)) + "}"
    if name in FUNCTIONS:
        return f"\\{name}"
    return SYMBOLS.get(name) or (name if len(name) == 1 else r"\mathrm{" + name + "}")
