"""A tag for every element of a sequence: many-to-many."""

TASK = "tagging"
