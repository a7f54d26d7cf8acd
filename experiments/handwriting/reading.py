"""How a run of this task is read; `experiments.common.reading` says what for.

A text is one to write; of a network that hears no text, the whole number with which it begins to draw.
"""

import numpy as np

from experiments.common.batches import pad
from experiments.common.errors import InputError
from experiments.common.reading import Reading
from experiments.handwriting.scribe import Scribe

SEED = 0


def read(model, config, texts):
    """The points that the network itself draws for each text, and for each where its window stands."""
    scribe = Scribe.of_run(model, config)
    drawn = [_drawn(scribe, text) for text in texts]
    strokes = [written.strokes for written in drawn]
    inputs = {"strokes": pad([row[:-1] for row in strokes], dtype="float32")}
    labels = {
        "right": [row[1:, 0] for row in strokes],
        "down": [row[1:, 1] for row in strokes],
        "pen lifted": [row[1:, 2] for row in strokes],
    }
    if not scribe.hears_text:
        tokens = [["↑" if lifted else "·" for lifted in row[1:, 2]] for row in strokes]
        return Reading(inputs, tokens, labels, opens_on_swing=False)
    places = [written.walk.argmax(axis=1) for written in drawn]
    inputs["text"] = np.array(texts, object)
    tokens = [[f"{text}⏎"[place] for place in row] for text, row in zip(texts, places, strict=True)]
    labels = {"place in the text": [row.astype(float) for row in places], **labels}
    return Reading(inputs, tokens, labels, opens_on_swing=False)


def _drawn(scribe, text):
    if scribe.hears_text:
        scribe.check(text)
        return scribe.write([text], SEED)[0]
    if not text.isdecimal() or int(text) >= 2**31:
        raise InputError(f"{text!r} is not the number of a drawing: expected a whole number below 2**31.")
    return scribe.write([""], int(text))[0]
