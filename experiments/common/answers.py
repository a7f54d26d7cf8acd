"""What the saved model of a run answers for whole texts: the probability of each label."""

import numpy as np

from experiments.common.batches import MOST_STEPS, runs_within
from experiments.common.run_folder import check_labels

TOGETHER = 256  # texts


def probabilities_of(model, config, texts):
    """Yield the probabilities of the labels for each text, however long the texts are.

    model: a function from texts to their probabilities.
    config: that of the run.
    """
    for run in runs_within([len(text) for text in texts], TOGETHER, MOST_STEPS):
        probabilities = np.asarray(model(texts[run]))
        check_labels(config, probabilities.shape[-1])
        yield from probabilities
