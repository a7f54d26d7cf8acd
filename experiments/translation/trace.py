"""What a trained network does inside as it translates: gates, states and alignments, in a folder."""

import keras
import numpy as np

import keras_gates
from experiments.common.batches import pad
from experiments.translation import alignment
from experiments.translation.tokens import START
from keras_gates._files import written_whole


def write(translator, texts, folder):
    """Write trace.npz, with every gate and state of every recurrent layer, and alignments.png.

    The decoder hears the translation that the network itself writes.
    """
    found = [best for best, *_ in translator.translate(texts)]
    number = {name: at for at, name in enumerate(translator.target.names)}
    said = pad([[number[START], *(number.get(piece, 1) for piece in each.pieces)] for each in found])
    inputs = {"source": keras.ops.convert_to_tensor(texts, dtype="string"), "said": said}
    with written_whole(folder, "inspection") as partial:
        partial.mkdir()
        trace = keras_gates.trace(translator.model, inputs)
        named = {f"{place}/{name}": x for place, layer in trace.items() for name, x in layer.items()}
        np.savez(partial / "trace.npz", said=said, **named)
        aligned = [each for each in found if each.alignment is not None and each.pieces]
        if aligned:
            alignment.draw(aligned, partial / "alignments.png")
