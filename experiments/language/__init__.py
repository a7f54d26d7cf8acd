"""A language model: it says how probable each next character of a text is, and writes."""

TASK = "language"
