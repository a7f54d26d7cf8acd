"""The network that moves a pen, in training and in the model that is saved (Graves 2013)."""

from dataclasses import dataclass

import keras
from keras import ops

import keras_gates
from experiments.common.cells import plain_name
from experiments.handwriting import TASK
from keras_gates.writing import Mixture

END, UNKNOWN = 0, 1  # what stands after a text, and a character that is not known
WINDOW = "window"  # the layer that walks over the text


def names_of(characters):
    """What the numbers of characters stand for."""
    return ("[END]", "[UNK]", *characters)


class Network:
    """Layers that tell how a pen moves next, from its movements so far and perhaps from a text.

    The first layer looks at the text through a window; every further one hears the pen, the window and the
    layer below, and the mixture hears all layers, as in the paper.

    names: of the characters by number, as `names_of` gives them; () for a network that hears no text.
    unit: the standard deviation of the offsets.
    pace: how many points a character takes.
    options: of the command line.
    """

    def __init__(self, names, unit, pace, options):
        self.names, self.unit = names, unit
        self.dropout = options.dropout
        make = keras_gates.cell_classes()[options.cell]
        self.layers = [
            keras_gates.RNN(
                make(options.units), return_sequences=True, name=f"{plain_name(options.cell)}_{level}"
            )
            for level in range(1, options.layers + 1)
        ]
        if names:
            window = keras_gates.SoftWindow(options.window, stride=1 / pace)
            cell = keras_gates.GravesCell(make(options.units), window, seen_size=len(names))
            self.layers[0] = keras_gates.AttentionRNN(cell, return_sequences=True, name=WINDOW)
        self.mixture = keras_gates.MixtureDensity(
            options.mixtures, 2, covariance="full", pen=True, name="mixture"
        )

    def training(self):
        """From standardised strokes (batch, time, 3), and numbers of characters (batch, positions), to the
        parameters of the mixture for the next ones."""
        strokes = keras.Input((None, 3), name="strokes")
        if not self.names:
            return keras.Model({"strokes": strokes}, self._mixture(strokes)[0], name=TASK)
        text = keras.Input((None,), dtype="int32", name="text")
        parameters, _ = self._mixture(strokes, text)
        return keras.Model({"text": text, "strokes": strokes}, parameters, name=TASK)

    def serving(self):
        """From strokes in the units of the data, and texts (batch,), to what `Pen` takes."""
        strokes = keras.Input((None, 3), name="strokes")
        scaled = keras.layers.Rescaling([1 / self.unit, 1 / self.unit, 1.0], name="standardised")(strokes)
        if not self.names:
            return keras.Model({"strokes": strokes}, self._mixture(scaled)[0], name=TASK)
        text = keras.Input((), dtype="string", name="text")
        numbers = keras.layers.TextVectorization(
            standardize=None, split="character", vocabulary=list(self.names[2:]), name="characters"
        )
        parameters, seen = self._mixture(scaled, ops.cast(numbers(text), "int32"))
        is_behind = ops.cast(ops.equal(ops.argmax(seen, axis=-1, keepdims=True), END), "float32")
        outputs = keras.layers.Concatenate(name="outputs")([parameters, is_behind * strokes[..., 2:]])
        return keras.Model({"text": text, "strokes": strokes}, outputs, name=TASK)

    def _mixture(self, strokes, text=None):
        """The parameters, and what the window sees, (batch, time, characters); None without a text."""
        memory = None if text is None else _one_hot(text, len(self.names))
        seen, heard, told = None, [strokes], []
        for layer in self.layers:
            x = keras.layers.Concatenate()([*heard, *told[-1:]]) if told else strokes
            x = keras.layers.Dropout(self.dropout)(x)
            if memory is not None and not told:
                x = layer(x, memory=memory)
                seen = x[..., -len(self.names) :]
            else:
                x = layer(x)
            told.append(x)
        x = keras.layers.Concatenate()(told) if len(told) > 1 else told[0]
        return self.mixture(keras.layers.Dropout(self.dropout)(x)), seen


def _one_hot(numbers, size):
    """Characters as vectors, and one more for the end of the text; zeros where a text is padded."""
    characters = ops.pad(numbers, ((0, 0), (0, 1)), constant_values=END)
    before = ops.pad(numbers, ((0, 0), (1, 0)), constant_values=UNKNOWN)
    return ops.one_hot(characters, size) * ops.cast(ops.not_equal(before, END), "float32")[..., None]


@dataclass(frozen=True)
class Pen:
    """A head, as in `keras_gates.writing.heads`, that draws movements in the units of the data.

    It lies still, lifted and with movements of exactly zero, once the window stands behind the text and the
    line is finished. (In Graves 2013, §5.3, the line is cut off. Here the window often moves on while the pen
    still draws a letter.)

    mixture: of standardised strokes.
    unit: the standard deviation of the offsets.
    ends: whether the outputs end with 1 where the window stands behind the text and the pen is lifted, and 0
        elsewhere.
    """

    mixture: Mixture
    unit: float
    ends: bool

    def noise_size(self, outputs):
        return self.mixture.noise_size()

    def draw(self, outputs, noise, temperature=1.0):
        return self._moved(outputs, self.mixture.draw(self._parameters(outputs), noise, temperature))

    def mode(self, outputs):
        return self._moved(outputs, self.mixture.mode(self._parameters(outputs)))

    def log_prob(self, outputs, value):
        log_density = self.mixture.log_prob(self._parameters(outputs), value / self._scale())
        log_density = log_density - 2 * ops.log(ops.cast(self.unit, log_density.dtype))
        return log_density * self._goes_on(outputs)[..., 0]

    def _parameters(self, outputs):
        return outputs[..., :-1] if self.ends else outputs

    def _goes_on(self, outputs):
        return 1 - outputs[..., -1:] if self.ends else ops.ones_like(outputs[..., :1])

    def _scale(self):
        return ops.convert_to_tensor([self.unit, self.unit, 1.0], "float32")

    def _moved(self, outputs, value):
        lies_still = ops.concatenate([ops.zeros_like(value[..., :2]), ops.ones_like(value[..., 2:])], axis=-1)
        return ops.where(self._goes_on(outputs) > 0, value * self._scale(), lies_still)
