"""Corpora of tagged sequences."""
