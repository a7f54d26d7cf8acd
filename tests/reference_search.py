"""Plain searches over what a model writes: slow, in NumPy, reading the whole prefix anew for every token.

`next_log_probs(prefix)` gives log p of every token after a list of tokens; `stop` holds the tokens that end a
text. Nothing here knows of states, batches or Keras.
"""

import numpy as np


def penalty(length, alpha):
    """lp(Y) of Wu et al. 2016, eq. 14."""
    return ((5 + length) / 6) ** alpha


def greedy(next_log_probs, prompt, stop, length):
    """The tokens written, without the stop token; log p, the stop token included; whether it stopped."""
    written, score = [], 0.0
    for _ in range(length):
        log_probs = next_log_probs([*prompt, *written])
        token = int(np.argmax(log_probs))
        score += float(log_probs[token])
        if token in stop:
            return written, score, True
        written.append(token)
    return written, score, False


def beam(next_log_probs, prompt, stop, length, width, alpha=0.0):
    """The `width` best found, as (tokens without `stop`, score, whether it stopped), the best first.

    Finished hypotheses stay in the beam and compete with what may still be written (as in TensorFlow Addons'
    BeamSearchDecoder). All are ranked by log p / lp(number of tokens written, the stop token included), the
    score.
    """
    hypotheses = [([], 0.0, False)]
    for _ in range(length):
        if all(stopped for _, _, stopped in hypotheses):
            break
        candidates = []
        for written, log_prob, stopped in hypotheses:
            if stopped:
                candidates.append((written, log_prob, True))
                continue
            log_probs = next_log_probs([*prompt, *written])
            for token, more in enumerate(log_probs):
                ends = token in stop
                candidates.append((written if ends else [*written, token], log_prob + float(more), ends))
        hypotheses = sorted(candidates, key=lambda each: -_ranked(each, alpha))[:width]
    return [(each[0], _ranked(each, alpha), each[2]) for each in hypotheses]


def _ranked(hypothesis, alpha):
    written, log_prob, stopped = hypothesis
    return log_prob / penalty(len(written) + stopped, alpha)
