"""Small worlds that need memory: adding, copying, timing, counting, grammars, waves."""

TASK = "synthetic"
