"""Digits, drawn stroke upon stroke by a variational autoencoder that looks at what it has drawn."""

TASK = "drawing"
