"""A label for every frame of a film, from this frame and all before."""

TASK = "video"
