"""What a model that writes is trained on."""

import numpy as np


def teacher_forcing(said, start, padding=0):
    """What a model hears, is to say, and which of that counts, from the texts that it is to write.

        heard, said, weights = teacher_forcing(texts, start=1)
        model.fit({"source": sources, "heard": heard}, said, sample_weight=weights)

    With these weights a Keras loss of `reduction="mean_with_sample_weight"`, and the metrics that are given
    as `weighted_metrics`, are means over what is said, whatever the padding.

    Args:
        said: the tokens of each text, with the token that stops it: an array `(batch, time)`, padded at the
            end, or lists of different lengths.
        start: the token that is heard first.
        padding: the token that fills up the rows of `said`, and those of what is returned.

    Returns:
        Arrays `(batch, time)`: what is heard, which is `said` one step later, behind `start`; what is to be
        said; and weights, float32, 1 up to the last token of each row that is no padding and 0 after it.

    Raises:
        ValueError: the tokens are not whole numbers in rows.
    """
    rows = [np.asarray(row) for row in said]
    if not rows or any(row.ndim != 1 or (row.size and row.dtype.kind not in "iu") for row in rows):
        raise ValueError(f"`said` must be rows of tokens, which are whole numbers; got {str(said)[:60]}.")
    whole = np.full((len(rows), max(map(len, rows))), padding, "int32")
    for k, row in enumerate(rows):
        whole[k, : len(row)] = row
    heard = np.concatenate([np.full((len(rows), 1), start, "int32"), whole[:, :-1]], axis=1)
    is_said = (whole != padding)[:, ::-1]
    weights = np.maximum.accumulate(is_said, axis=1)[:, ::-1].astype("float32")
    return heard, whole, weights
