"""Captions of pictures: a sentence for each picture, written word by word."""

TASK = "captioning"
