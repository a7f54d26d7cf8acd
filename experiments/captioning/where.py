"""Whether a network that names a mark of a Latin letter looks at the half of the picture where the mark is.

This is known of characters: ABOVE, ACUTE and others stand above a letter, BELOW, CEDILLA and others below.
"""

import numpy as np

LETTERS = "LATIN "
UPPER = {"ABOVE", "ACUTE", "BREVE", "CARON", "CIRCUMFLEX", "DIAERESIS", "GRAVE", "MACRON", "TILDE"}
LOWER = {"BELOW", "CEDILLA", "DESCENDER", "OGONEK"}
TURNED = {"BELOW": "lower", "ABOVE": "upper"}  # after a mark: CIRCUMFLEX BELOW, RING ABOVE
# marks that stand elsewhere than their name says
EXCEPT = {"LATIN SMALL LETTER G WITH CEDILLA"}
PASSED_THROUGH = "MIDDLE"  # before a mark: MIDDLE TILDE


def masses(captions):
    """The mean attention in the right half: "above", "below" and in all, as far as there are such words.

    captions: `Caption`s, all right.
    """
    found = {"upper": [], "lower": []}
    for caption in captions:
        if caption.looked is None:
            continue
        for at, half in halves(caption.words):
            rows = caption.looked[at].sum(axis=1)
            middle = len(rows) // 2
            upper = rows[:middle].sum() + (rows[middle] / 2 if len(rows) % 2 else 0)
            found[half].append(upper if half == "upper" else 1 - upper)
    named = {"above": found["upper"], "below": found["lower"], "right_half": found["upper"] + found["lower"]}
    return {name: float(np.mean(values)) for name, values in named.items() if values}


def halves(words):
    """The places of words that say where something is, each with "upper" or "lower"."""
    text = " ".join(words)
    if not text.startswith(LETTERS) or text in EXCEPT:
        return []
    found = []
    for at, word in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else ""
        if word not in UPPER | LOWER or words[at - 1] == PASSED_THROUGH:
            continue
        found.append((at, TURNED.get(following, "upper" if word in UPPER else "lower")))
    return found
