"""Polyphonic music: which notes sound in the next frame."""

TASK = "music"
