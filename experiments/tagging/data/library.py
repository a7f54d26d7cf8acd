"""The standard library's own source, every character with its tag."""

import contextlib
import tokenize

from experiments.common.python_source import TAGS, label, sources
from experiments.tagging.data.tagged import PARTS, Corpus, Tagged


def read(limit=None, folder=None):
    """The standard library as a `Corpus` whose elements are characters.

    limit: how many modules of each part to read, drawn evenly over their names; all by default.
    folder: where to look instead of in the running interpreter's library.
    """
    parts = {part: list(_labelled(sources(part, limit, folder))) for part in PARTS}
    return Corpus(**parts, names=TAGS)


def _labelled(texts):
    """Yield the texts that are Python of this version; the library also carries templates that are not."""
    for text in texts:
        with contextlib.suppress(SyntaxError, tokenize.TokenError):
            yield Tagged(text, label(text))
