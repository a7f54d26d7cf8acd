"""Translation: an encoder–decoder that reads a text in one language and writes it in another."""

TASK = "translation"
