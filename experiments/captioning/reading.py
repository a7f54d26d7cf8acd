"""How a run is read; `experiments.common.reading` says what for. A text is the path of a picture."""

import numpy as np

from experiments.captioning.captioner import Captioner
from experiments.captioning.words import END, START, Vocabulary
from experiments.common.batches import pad
from experiments.common.pictures import read_picture, resized, size_of
from experiments.common.reading import Reading, Seen
from keras_gates.writing import teacher_forcing

TAKES_PATHS = True


def read(model, config, texts):
    """The words that the network itself writes for each picture, the one that ends the caption included.

    A step is that in which a word is chosen; its label is its place in the caption.
    """
    captioner = Captioner.of_run(model, config)
    vocabulary = Vocabulary(tuple(config["labels"]))
    size = size_of(config["options"]["size"])
    pictures = np.array([resized(read_picture(path), size) for path in texts])
    captions = captioner.write(pictures)
    said = vocabulary.numbers([caption.text for caption in captions])
    heard, _, _ = teacher_forcing(pad(said), start=START)
    tokens = [[*caption.words, vocabulary.names[END]] for caption in captions]
    labels = {"place in the caption": [np.arange(len(row), dtype=float) for row in tokens]}
    return Reading({"picture": pictures, "heard": heard}, tokens, labels, opens_on_swing=False)


def see(model, config, picture, question=None):
    """The caption that the network writes for a picture, and where it looked as it chose each word."""
    (caption,) = Captioner.of_run(model, config).write(picture[None])
    return Seen(caption.words, float(np.exp(caption.score)), caption.looked)
