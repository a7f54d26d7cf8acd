"""How well captions are written."""

import numpy as np

import keras_gates
from experiments.captioning.words import END, START

BATCH = 500  # pictures that are captioned together


def measure(model, tests, vocabulary, longest, beam):
    """The measures of each test part, named after it; a part without a name has the measures' plain names."""
    measures = {}
    for name, part in tests.items():
        written = write(model, part.pictures, vocabulary, longest, beam)
        for what, value in compare(written, part.captions).items():
            measures["_".join(filter(None, ("test", name, what)))] = value
    return measures


def compare(written, captions):
    """Measures of written captions, against all right ones of each picture."""
    exact = np.array([text in right for text, right in zip(written, captions, strict=True)])
    single = np.array([len(right) == 1 for right in captions])
    return {
        "exact_match": float(exact.mean()),
        "exact_match_of_single": float(exact[single].mean()),
    }


def write(model, pictures, vocabulary, longest, beam):
    """The captions that the model writes, a list of strings."""
    from experiments.captioning.problem import strategy

    texts = []
    for start in range(0, len(pictures), BATCH):
        chunk = pictures[start : start + BATCH]
        chunk = np.broadcast_to(chunk, (*chunk.shape[:3], 3))
        written = keras_gates.write(
            model, over="heard", context={"picture": chunk}, start=START, stop=END, length=longest + 1,
            how=strategy(beam), vocabulary=list(vocabulary.names),
        )
        texts += written.text
    return texts
