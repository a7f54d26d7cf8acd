"""A language model: it says how probable each next character or word of a text is, and writes."""

TASK = "language"
