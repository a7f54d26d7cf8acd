"""How a text is taken apart for people."""

from experiments.common import highlight


def split(text, takes_words, gap):
    """The tokens of a text whose tags are told.

    takes_words: whether the model is given words, rather than a text.
    gap: what stands between two tokens: a space, or nothing between characters.
    """
    if takes_words:
        return highlight.split_words(text)
    return text.split() if gap else list(text)
