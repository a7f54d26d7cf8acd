"""Layers for models that take raw strings, in addition to Keras' own. They need TensorFlow."""

import keras
from keras import layers, ops

from keras_gates._arguments import Configured
from keras_gates.cells.base import PACKAGE, register


@keras.saving.register_keras_serializable(PACKAGE)
def standardize_words(texts):
    """Lower-case texts, without markup and apostrophes; each run of other non-alphanumerics is one space.

    For `keras.layers.TextVectorization(standardize=standardize_words)`.

    Args:
        texts: a string tensor of any shape, in UTF-8.

    Returns:
        A string tensor of the same shape.
    """
    import tensorflow as tf

    texts = tf.strings.regex_replace(_lower_without_markup(texts), r"['’]", "")
    return tf.strings.regex_replace(texts, r"[^\pL\pM\pN]+", " ")


@keras.saving.register_keras_serializable(PACKAGE)
def split_words_and_marks(texts):
    """Split texts into words and other characters; the parts of a text, joined, are the text.

    A part is a run of letters, digits and underscores together with one space before it; or a run of spaces;
    or any other single character, such as a punctuation mark or a line end.

    For `keras.layers.TextVectorization(split=split_words_and_marks, standardize=None)`.

    Args:
        texts: strings in UTF-8, `(batch,)`.

    Returns:
        A ragged tensor of strings, `(batch, parts)`.
    """
    import tensorflow as tf

    end = b"\xff"  # occurs in no text in UTF-8
    parts = tf.strings.regex_replace(texts, r"(?s)( ?[\pL\pM\pN_]+| +|.)", rb"\1" + end)
    parts = tf.strings.split(parts, end)
    return tf.ragged.boolean_mask(parts, parts != "")


def gap_of(tokenizer):
    """What stands between two tokens of a `TextVectorization` in a text: a space, or nothing."""
    split = tokenizer.get_config()["split"]
    return "" if split in ("character", split_words_and_marks) else " "


@keras.saving.register_keras_serializable(PACKAGE)
def standardize_words_and_symbols(texts):
    """Lower-case texts, without markup and apostrophes, with spaces around punctuation marks and symbols.

    So that white space separates words, emoji, and punctuation: each mark for itself, but a run of full
    stops, question and exclamation marks as one. For
    `keras.layers.TextVectorization(standardize=standardize_words_and_symbols)`.

    Args:
        texts: a string tensor of any shape, in UTF-8.

    Returns:
        A string tensor of the same shape.
    """
    import tensorflow as tf

    texts = _lower_without_markup(texts)
    texts = tf.strings.regex_replace(texts, r"['’]", "")
    # control characters too: among them are those that join several emoji to one
    texts = tf.strings.regex_replace(texts, r"[\pZ\pC]+", " ")
    return tf.strings.regex_replace(texts, r"([.!?]+|[^\pL\pM\pN .!?]\pM*)", r" \1 ")


@keras.saving.register_keras_serializable(PACKAGE)
def standardize_characters(texts):
    """Lower-case texts, without markup; each run of white space is one space.

    For `keras.layers.TextVectorization(standardize=standardize_characters, split="character")`.

    Args:
        texts: a string tensor of any shape, in UTF-8.

    Returns:
        A string tensor of the same shape.
    """
    import tensorflow as tf

    return tf.strings.regex_replace(_lower_without_markup(texts), r"[\pZ\pC]+", " ")


def _lower_without_markup(texts):
    import tensorflow as tf

    return tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), r"<[^>]*>", " ")


@keras.saving.register_keras_serializable(PACKAGE)
def separate_punctuation(texts):
    """Texts whose words and punctuation marks have one space between them.

    An apostrophe or a hyphen is part of its word; every other character that is neither a letter nor a
    number stands alone. For `keras.layers.TextVectorization(standardize=separate_punctuation)`.

    Args:
        texts: a string tensor of any shape, in UTF-8.

    Returns:
        A string tensor of the same shape.
    """
    import tensorflow as tf

    texts = tf.strings.regex_replace(texts, r"([^\pL\pM\pN\pZ\s'’-])", r" \1 ")
    return tf.strings.strip(tf.strings.regex_replace(texts, r"[\pZ\s]+", " "))


@keras.saving.register_keras_serializable(PACKAGE)
def lower(texts):
    """Lower-case texts, a string tensor in UTF-8; `TextVectorization`'s own "lower" changes ASCII only."""
    import tensorflow as tf

    return tf.strings.lower(texts, encoding="utf-8")


@keras.saving.register_keras_serializable(PACKAGE)
def lower_separate_punctuation(texts):
    """`lower` and `separate_punctuation`."""
    return separate_punctuation(lower(texts))


@register()
class HashedNGrams(Configured, layers.Layer):
    """From ids `(batch, time)`, a number at each step for the n ids that end there, for an `Embedding`.

    The number is a hash, so different n-grams may share one. It is from 1 to `buckets` - 1, and 0 where the
    id is 0, which stands for padding. Before the first step there are zeros.

    Args:
        n: how many ids are read together, at least 1.
        buckets: how many numbers there are, that of padding among them. Beyond 65,536 the hash needs int64,
            which JAX has only if told so.
        **kwargs: of `keras.layers.Layer`.
    """

    FACTOR = 31_337  # a prime; a hash below 2¹⁶ times this, and an id more, fits into int32

    def __init__(self, n, buckets=2**16, **kwargs):
        super().__init__(**kwargs)
        self.n, self.buckets = n, buckets

    def call(self, ids):
        ids = ops.cast(ids, "int32" if self.buckets <= 2**16 else "int64")
        time = ops.shape(ids)[1]
        padded = ops.pad(ids, [[0, 0], [self.n - 1, 0]])
        numbers = ops.zeros_like(ids)
        for start in range(self.n):
            numbers = (numbers * self.FACTOR + padded[:, start : start + time]) % (self.buckets - 1)
        return ops.cast(ops.where(ids == 0, 0, numbers + 1), "int32")

    def compute_output_spec(self, ids):
        return keras.KerasTensor(ids.shape, "int32")


@register()
class FirstSteps(Configured, layers.Layer):
    """The first steps of ids `(batch, time)`: at most so many.

    Args:
        most: how many steps are kept.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, most, **kwargs):
        super().__init__(**kwargs)
        self.most = most

    def call(self, ids):
        return ids[:, : self.most]

    def compute_output_spec(self, ids):
        return keras.KerasTensor((ids.shape[0], None), ids.dtype)


@register()
class AtLeastOneStep(layers.Layer):
    """Ids `(batch, time)`, with one step of padding, 0, if there is no step, as for texts without words."""

    def call(self, ids):
        missing = ops.maximum(1 - ops.shape(ids)[1], 0)
        return ops.concatenate([ids, ops.zeros((ops.shape(ids)[0], missing), ids.dtype)], axis=1)

    def compute_output_spec(self, ids):
        return keras.KerasTensor((ids.shape[0], None), ids.dtype)


@register()
class UniqueStrings(layers.Layer):
    """From strings of any shape, the unique ones, `(number,)`, and for each string its index among these."""

    def call(self, strings):
        import tensorflow as tf

        unique, positions = tf.unique(tf.reshape(strings, [-1]))
        return unique, tf.reshape(positions, tf.shape(strings))

    def compute_output_spec(self, strings):
        return keras.KerasTensor((None,), "string"), keras.KerasTensor(strings.shape, "int32")


@register()
class LowerCase(layers.Layer):
    """Strings of any shape, in UTF-8, in lower case."""

    def call(self, strings):
        import tensorflow as tf

        return tf.strings.lower(strings, encoding="utf-8")

    def compute_output_spec(self, strings):
        return keras.KerasTensor(strings.shape, "string")


@register()
class WordShape(layers.Layer):
    """How words of any shape are written: Xx for Rome, XX for UN, Xx-Xx for Rhône-Alpes, 0x for 90s.

    A run of lower-case letters becomes x, a capital X, more of them XX, a run of digits 0; the rest stays.
    """

    def call(self, words):
        import tensorflow as tf

        for pattern, written in ((r"\p{Ll}+", "x"), (r"\p{Lu}{2,}", "XX"), (r"\p{Lu}", "X"), (r"\pN+", "0")):
            words = tf.strings.regex_replace(words, pattern, written)
        return words

    def compute_output_spec(self, words):
        return keras.KerasTensor(words.shape, "string")


@register()
class TagNames(Configured, layers.Layer):
    """The names of tags, `(batch, time)`; "" where masked.

    It takes logits `(batch, time, tags)`, and names the most probable tag, or the tags as whole numbers,
    `(batch, time)`, as `CRFDecoder` returns them.

    Args:
        tags: the names, in the order of the logits.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, tags, **kwargs):
        super().__init__(**kwargs)
        self.tags = list(tags)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        import tensorflow as tf

        names = tf.gather(self.tags, tf.argmax(inputs, axis=-1) if inputs.dtype.is_floating else inputs)
        return names if mask is None else tf.where(mask, names, "")

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs.shape[:2], "string")
