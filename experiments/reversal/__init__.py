"""Reversing a sequence by looking at it: attention that can be checked."""
