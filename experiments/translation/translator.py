"""Texts translated by a trained network, in batches, with unknown words copied."""

import dataclasses
from typing import NamedTuple

import numpy as np

import keras_gates
from experiments.common.errors import InputError, reason_of
from experiments.common.run_folder import check_labels
from experiments.translation import TASK
from experiments.translation.tokens import SOURCE_LAYER, START, STOP, UNKNOWN, Side

BATCH = 64  # texts that are translated side by side, the beam of each beside it


class Translation(NamedTuple):
    """What a network wrote for a text.

    text: the translation.
    score: log p, divided by the length penalty if there is one.
    pieces: the words or characters of the translation.
    read: those of the text that was read.
    numbers: what the network wrote for the pieces, an unknown word before it was replaced.
    alignment: (pieces, read): how much the decoder attended to each as it wrote; None if it does not attend.
    """

    text: str
    score: float
    pieces: list
    read: list
    numbers: list
    alignment: np.ndarray | None


class Translator:
    """A network from texts, and the sides between which it translates.

    model: from `source` texts and `said` numbers to logits.
    source, target: a `tokens.Side` each.
    longest: words or characters of a translation at most.
    """

    def __init__(self, model, source, target, longest):
        self.model, self.source, self.target, self.longest = model, source, target, longest
        self.known = set(source.names)

    @property
    def attends(self):
        return any(isinstance(layer, keras_gates.AttentionRNN) for layer in self.model.layers)

    def translate(self, texts, width=5, length_penalty=0.0, n_best=1):
        """The best translations of every text, a list of lists of `Translation`; of a blank one a blank."""
        read = self.source.pieces(texts)
        found = [[Translation("", 0.0, [], [], [], None)] for _ in texts]
        order = sorted((at for at, pieces in enumerate(read) if pieces), key=lambda at: len(read[at]))
        how = keras_gates.Beam(max(width, n_best), float(length_penalty), n_best)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            written = self._written([texts[at] for at in batch], how)
            for row, at in enumerate(batch):
                found[at] = [self._translation(written, (row, rank), read[at]) for rank in range(n_best)]
        return found

    def _written(self, texts, how):
        """A `Written` of which every array has an axis of the best translations after the batch."""
        written = keras_gates.write(
            self.model,
            over="said",
            context={"source": texts},
            start=START,
            stop=STOP,
            length=self.longest,
            how=how,
            vocabulary=self.target.layer,
        )
        if how.n_best > 1:
            return written
        return dataclasses.replace(
            written,
            **{name: getattr(written, name)[:, None] for name in ("tokens", "lengths", "scores")},
            alignments={place: x[:, None] for place, x in written.alignments.items()},
        )

    def _translation(self, written, row, read):
        numbers = written.tokens[row][: written.lengths[row]]
        alignment = next((x[row][: len(numbers), : len(read)] for x in written.alignments.values()), None)
        pieces = self._copied([self.target.names[number] for number in numbers], read, alignment)
        score = float(written.scores[row])
        return Translation(self.target.join(pieces), score, pieces, read, numbers, alignment)

    def _copied(self, pieces, read, alignment):
        """The pieces with every unknown one replaced by what was read there.

        That is where the decoder attended most. Without attention it is the next unknown word of the text;
        if there is none, the piece is left out.
        """
        unknown = iter([piece for piece in read if not self._knows(piece)])
        for at, piece in enumerate(pieces):
            if piece == UNKNOWN:
                pieces[at] = next(unknown, None) if alignment is None else read[alignment[at].argmax()]
        return [piece for piece in pieces if piece is not None]

    def _knows(self, piece):
        return piece in self.known or piece.lower() in self.known


def translator_of(model, config):
    """The `Translator` of a run, from its model.keras and its config.json.

    Raises `InputError` if they are not those of a run of this task.
    """
    check_labels(config, model.output_shape[-1])
    options = config["options"]
    try:
        source = model.get_layer(SOURCE_LAYER).get_vocabulary()
        sides = (
            Side(options["source_tokens"], options["lower"] != "none", source[2:]),
            Side(options["target_tokens"], options["lower"] == "both", config["labels"][2:]),
        )
        return Translator(model, *sides, int(config["longest"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The run is not a whole one of experiments.{TASK}: {reason_of(error)}.") from error
