"""What a model wrote."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Written:
    """What a model wrote, as NumPy arrays; with `Beam(n_best=n)`, n > 1, each has an axis n after the batch.

    Attributes:
        tokens: the classes, `(batch, time)`, or values of a head of another kind, `(batch, time, …)`; zeros
            after the end of a row.
        lengths: how many tokens of each row are written, without the stop token, `(batch,)`.
        scores: log p of what was written, the stop token included, under the model itself (without
            temperature or restrictions), `(batch,)`; of a beam, with its length penalty.
        stopped: whether a row ended with a stop token, `(batch,)`.
        alignments: by the place of each layer that attends, where it looked as each token was chosen,
            `(batch, time, J)`.
        text: the texts, if the vocabulary is known: a list of strings, or of lists of strings; else None.
        state: what `write(…, state=)` takes to go on, a dict of tensors; None after a beam search.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    stopped: np.ndarray
    alignments: dict
    text: list | None = None
    state: dict | None = field(default=None, repr=False)
