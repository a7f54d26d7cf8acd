"""Handwriting: the movements of a pen, by themselves or for a text."""

TASK = "handwriting"
