"""How well captions are written, and whether the network looked where it should."""

import numpy as np
import sacrebleu

from experiments.captioning import where
from experiments.common.written import columns, error_rate


def measure(captioner, tests):
    """The measures of each test part, named after it."""
    measures = {}
    for name, part in tests.items():
        found = compare(captioner.write(part.pictures), part.captions)
        measures |= {measure_of(name, what): value for what, value in found.items()}
    return measures


def score(captioner, part):
    """How good an epoch is: the exact match, and where that says nothing, the BLEU, of the validation part.

    Its loss would end training too early: it rises while more captions are written right.
    """
    found = compare(captioner.write(part.pictures), part.captions)
    return found["exact_match"] + found["bleu"] / 1e6


def measure_of(test, what):
    """The name of a measure of a test part."""
    return "_".join(filter(None, ("test", test, what)))


def compare(written, captions):
    """Measures of captions that were written.

    written: a `Caption` for each picture.
    captions: all right captions of each picture, a tuple of strings.
    """
    said = [caption.text for caption in written]
    exact = np.array([text in right for text, right in zip(said, captions, strict=True)])
    single = np.array([len(right) == 1 for right in captions])
    bleu = sacrebleu.BLEU()
    measures = {
        "exact_match": float(exact.mean()),
        # of the pictures that have one right caption only, as far as there are any
        **({"exact_match_of_one_caption": float(exact[single].mean())} if single.any() else {}),
        "word_accuracy": 1 - error_rate(said, captions),
        "bleu": bleu.corpus_score(said, columns(captions)).score,
        "bleu_signature": str(bleu.get_signature()),
    }
    masses = where.masses([caption for caption, right in zip(written, exact, strict=True) if right])
    return measures | {f"attention_{half}": mass for half, mass in masses.items()}
