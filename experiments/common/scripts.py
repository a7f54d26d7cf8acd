"""Scripts in which a word is no good unit, since nothing or little separates words."""

import re

# Hangul; Hiragana, Katakana; Han; Thai, Lao, Burmese, Khmer
_RANGES = (
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"
    "\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
BY_CHARACTER = re.compile(f"[{_RANGES}]")
LOOKED_AT = 1_000  # texts


def are_by_character(texts):
    """Whether most letters of the texts are of scripts that are better read by character than by word."""
    some = "".join(texts[:: max(1, len(texts) // LOOKED_AT)])
    return 2 * len(BY_CHARACTER.findall(some)) > sum(map(str.isalpha, some))
