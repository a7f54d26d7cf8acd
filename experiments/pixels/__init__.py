"""Digits read as sequences: row by row, or pixel by pixel."""

TASK = "pixels"
