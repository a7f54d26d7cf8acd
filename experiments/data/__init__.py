"""Corpora in, batches out. Nothing here knows a model."""
