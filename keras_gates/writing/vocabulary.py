"""The words of a model by number: prompts to tokens, and tokens to text."""

import keras
from keras import ops

from keras_gates.layers.text import gap_of


class Vocabulary:
    """The words of a model by number.

    Args:
        source: a `TextVectorization`, which takes prompts apart too; another layer that has
            `get_vocabulary()`, such as `StringLookup`; or the words in a list or tuple.

    Attributes:
        words: a list of strings.
        gap: what stands between two words of a text: a space, or nothing.
    """

    def __init__(self, source):
        self.tokenizer = source if isinstance(source, keras.layers.TextVectorization) else None
        if hasattr(source, "get_vocabulary"):
            self.words = list(map(str, source.get_vocabulary()))
        elif isinstance(source, (list, tuple)) and all(isinstance(word, str) for word in source):
            self.words = list(source)
        else:
            raise ValueError(
                "`vocabulary` must be a list of words by number, or a layer that has one, such as "
                f"keras.layers.TextVectorization; got {type(source).__name__}."
            )
        self.gap = " " if self.tokenizer is None else gap_of(self.tokenizer)

    def number(self, argument, word):
        if word not in self.words:
            raise ValueError(f"`{argument}` must be in the vocabulary; got {word!r}.")
        return self.words.index(word)

    def tokens(self, texts):
        """The tokens of each text, a list of lists."""
        if self.tokenizer is None:
            raise ValueError("`prompt` must be tokens, not strings: no TextVectorization takes them apart.")
        rows = ops.convert_to_numpy(self.tokenizer(ops.convert_to_tensor(list(texts))))
        return [row[row != 0].tolist() for row in rows]

    def text(self, tokens, lengths):
        """The text of tokens `(…, time)`, of which `lengths` count: a string, or a nest of lists of them."""
        if lengths.ndim:
            return [self.text(*each) for each in zip(tokens, lengths, strict=True)]
        return self.gap.join(self.words[token] for token in tokens[:lengths])


def vocabulary_of(opened, source=None):
    """The vocabulary of `source`, or of the `TextVectorization` that the model hears through; or None."""
    source = opened.whole.tokenizer if source is None else source
    return None if source is None else Vocabulary(source)
