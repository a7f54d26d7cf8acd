"""A trained network that captions pictures, and where it looked as it chose each word."""

from typing import NamedTuple

import keras
import numpy as np

import keras_gates
from experiments.captioning.words import END, START
from experiments.common.errors import InputError, reason_of
from experiments.common.pictures import grid_of
from experiments.common.run_folder import check_labels

BATCH = 500  # pictures that are captioned together


class Caption(NamedTuple):
    """What was written for a picture.

    words: a list of strings.
    score: log p of the caption, as `keras_gates.writing.Written` has it.
    looked: the weights of the places as each word was chosen, (words, rows, columns); None if the network
        does not attend.
    """

    words: list
    score: float
    looked: np.ndarray | None

    @property
    def text(self):
        return " ".join(self.words)


class Captioner:
    """Writes captions.

    model: from pictures and heard words to the probabilities of the next word.
    names: the words by number.
    longest: the most words that a caption may have.
    beam: the width of the beam search that writes; 1 writes greedily.
    """

    def __init__(self, model: keras.Model, names, longest, beam=1):
        self.model = model
        self.length = longest + 1  # with the token that ends it
        self.arguments = writing(names, beam)

    @classmethod
    def of_run(cls, model, config, beam=None):
        """The captioner of a finished run.

        model, config: the run's model.keras and config.json.
        beam: by default that of the run.

        Raises `InputError` if they do not belong together, or the config is damaged.
        """
        check_labels(config, model.output_shape[-1])
        try:
            return cls(
                model, config["labels"], int(config["longest"]), beam or int(config["options"]["beam"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"The config.json of the run is damaged: {reason_of(error)}.") from error

    def write(self, pictures):
        """A `Caption` for each picture of an array (pictures, height, width, 1 or 3)."""
        captions = []
        for start in range(0, len(pictures), BATCH):
            chunk = pictures[start : start + BATCH]
            captions += self._write(np.broadcast_to(chunk, (*chunk.shape[:3], 3)))
        return captions

    def _write(self, pictures):
        context = {"picture": pictures}
        written = keras_gates.write(self.model, context=context, length=self.length, **self.arguments)
        looked = [None] * len(pictures)
        if written.alignments:
            (alignment,) = written.alignments.values()
            grid = grid_of(self.model.get_layer("encoder"))
            looked = [row[:n].reshape(n, *grid) for row, n in zip(alignment, written.lengths, strict=True)]
        return [
            Caption(text.split(), float(score), places)
            for text, score, places in zip(written.text, written.scores, looked, strict=True)
        ]


def writing(names, beam):
    """How captions are written, as `keras_gates.write` and `keras_gates.export` take it."""
    how = keras_gates.Greedy() if beam == 1 else keras_gates.Beam(beam, length_penalty=0.6)
    return {"over": "heard", "start": START, "stop": END, "how": how, "vocabulary": list(names)}
