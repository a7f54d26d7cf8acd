"""Labels for files of texts, on all cores of a machine or of a cluster: `python -m experiments.score`."""
