"""Gated recurrent cells for Keras 3 that can be checked, opened and shipped."""
