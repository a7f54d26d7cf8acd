"""A trained network that writes, and where its window stood over the text as it drew each point."""

from typing import NamedTuple

import numpy as np

import keras_gates
from experiments.common.errors import InputError, reason_of
from experiments.common.run_folder import check_labels
from experiments.handwriting import TASK
from experiments.handwriting.network import Pen
from keras_gates.writing import Mixture

START = (0.0, 0.0, 0.0)  # what is heard first: the pen is down at the origin
AMPLE = 2  # a text may take so many times the points that such texts take in the data


class Written(NamedTuple):
    """What a network drew.

    text: what it was asked to write; "" of a network that hears no text.
    strokes: (points, 3), in the units of the data.
    walk: the weight of each character, and of the end of the text, as each point after the first was drawn,
        (points - 1, characters + 1); None without a text.
    ended: whether the window reached the end of the text.
    """

    text: str
    strokes: np.ndarray
    walk: np.ndarray | None
    ended: bool


class Scribe:
    """Writes texts, or draws what comes to its mind.

    model: from strokes, and texts, to what `Pen` takes.
    hears_text: whether the network hears a text.
    unit: the standard deviation of the offsets.
    points: how many a character takes; without a text, a drawing.
    mixtures: how many Gaussians the mixture has.
    bias: how neatly it writes, as in `Mixture`; 0 as irregularly as the data.
    """

    def __init__(self, model, hears_text, unit, points, mixtures, bias):
        self.model, self.hears_text, self.points = model, hears_text, points
        self.unit, self.mixtures, self.bias = unit, mixtures, bias

    @classmethod
    def of_run(cls, model, config):
        """The scribe of a finished run, from its model.keras and its config.json.

        Raises `InputError` if they do not belong together, or the config is damaged.
        """
        try:
            hears_text, options = bool(config["hears_text"]), config["options"]
            numbers = float(config["unit"]), float(config["points"]), int(options["mixtures"])
            scribe = cls(model, hears_text, *numbers, float(options["bias"]))
            sizes = scribe.pen().mixture.parameter_sizes
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"The run is not one of experiments.{TASK}: {reason_of(error)}.") from error
        if hears_text:
            check_labels(config, model.get_layer("characters").vocabulary_size())
        if model.output_shape[-1] != sum(sizes) + hears_text:
            raise InputError(f"The network of the run has no mixture of {scribe.mixtures} Gaussians.")
        return scribe

    def pen(self, bias=None):
        """How the outputs of the model become movements."""
        mixture = Mixture(self.mixtures, 2, "full", True, self.bias if bias is None else bias)
        return Pen(mixture, self.unit, self.hears_text)

    def check(self, text):
        """Raise `InputError` if a text is empty, or has characters that the network does not know."""
        known = self.model.get_layer("characters").get_vocabulary()[2:]
        if not text.strip():
            raise InputError("There is no text to write.")
        if unknown := sorted(set(text) - set(known)):
            raise InputError(
                f"The network does not know {', '.join(map(repr, unknown))}; it learnt {''.join(known)!r}."
            )

    def write(self, texts, seed=0, bias=None, length=None, style=None):
        """A `Written` for each text; a network that hears none draws one for each.

        bias: another than that of the scribe.
        length: points at most; by default as many as should be ample.
        style: a `Writing` that the network hears first, as if it had written it itself, and the text of it.
        """
        said = style.text if style and self.hears_text else ""
        whole = [f"{said} {text}" if said else text for text in texts]
        if self.hears_text:
            heard = {"context": {"text": whole}}
            length = length or round(AMPLE * self.points * (max(map(len, texts)) + 2))
        else:
            heard, length = {}, length or round(self.points)
        if style:
            heard["prompt"] = np.repeat(style.strokes[None], len(texts), axis=0)
        else:
            heard |= {"start": list(START), "prompt": [[] for _ in texts]}
        written = keras_gates.write(
            self.model,
            over="strokes",
            length=length,
            how=keras_gates.Sampling(seed=seed),
            head=self.pen(bias),
            **heard,
        )
        walks = next(iter(written.alignments.values()), [None] * len(texts))
        skipped = len(said) + 1 if said else 0
        return [
            self._written(text, strokes, walk if walk is None else walk[:, skipped:], style is not None)
            for text, strokes, walk in zip(texts, written.tokens, walks, strict=True)
        ]

    def _written(self, text, strokes, walk, follows):
        """What was drawn up to the end of the text, behind which the pen lies still.

        follows: whether it follows strokes that were given; then its first point is the origin.
        """
        still = np.flatnonzero(~strokes[:, :2].any(axis=1)) if self.hears_text else []
        end = still[0] if len(still) else len(strokes)
        if follows:
            drawn = np.concatenate([strokes[:1] * (0, 0, 1), strokes[1:end]])
        else:
            drawn = np.concatenate([[START], strokes[:end]])
        drawn[-1, 2] = 1
        if walk is not None:
            walk = walk[end - len(drawn) + 1 : end, : len(text) + 1]
        return Written(text if self.hears_text else "", drawn, walk, bool(len(still)))
