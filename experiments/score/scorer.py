"""A scorer: it loads a run's model once, and answers pieces of files, one after the other."""

import json
import os
import time
from pathlib import Path

from experiments.common.answers import probabilities_of
from experiments.common.errors import InputError
from experiments.common.run_folder import load_run, read_config
from experiments.score.pieces import FORMATS, Answer, Piece
from keras_gates._files import written_whole

DECIMALS = 6


def load_labeller(run):
    """(config, saved model) of a run whose model gives each text the probabilities of labels.

    Raises `InputError` if the folder is not that of such a run.
    """
    config, model = load_run(read_config(run)["task"], run)
    signature = model.signature("serving_default")
    inputs = list(signature.structured_input_signature[1].values())
    outputs = list(signature.structured_outputs.values())
    if not (
        len(inputs) == len(outputs) == 1
        and inputs[0].dtype.name == "string"
        and inputs[0].shape.rank == 1
        and outputs[0].shape.rank == 2
    ):
        raise InputError(f"{run} cannot score: its model does not give whole texts a label each.")
    return config, model


class Scorer:
    """Answers pieces. Called with a batch of Ray Data: the `items` of some pieces, column by column.

    run: the folder of the run.
    text: name of the column of texts.
    folder: where a file is written for each piece.
    """

    def __init__(self, run, text, folder):
        self.config, self.model = load_labeller(run)
        self.text, self.folder = text, folder

    def __call__(self, batch):
        """For each piece the number of its rows, of those without a text, and the seconds it took."""
        done = [
            self.answer(number, Piece(*json.loads(piece)))
            for number, piece in zip(batch["number"], batch["piece"], strict=True)
        ]
        return dict(zip(("rows", "empty", "seconds"), map(list, zip(*done, strict=True)), strict=True))

    def answer(self, number, piece):
        """Write the answers for a piece; returns what `__call__` says of it."""
        began = time.perf_counter()
        form = FORMATS[Path(piece.path).suffix.lower()]
        rows = form.read(piece)
        texts = form.texts(piece, rows, self.text)
        path = Path(self.folder, part_name(number, piece))
        # replaced, since an engine that loses a machine may give a piece out again
        with written_whole(path, replace=True) as partial:
            form.write(piece, rows, self.answers(texts), partial)
        return piece.rows, sum(map(is_empty, texts)), time.perf_counter() - began

    def answers(self, texts):
        """An `Answer` for each text. The texts are read by length, so that little is padded."""
        some = sorted(
            (at for at, text in enumerate(texts) if not is_empty(text)), key=lambda at: len(texts[at])
        )
        answers = [Answer(None, None)] * len(texts)
        read = probabilities_of(self.model, self.config, [texts[at] for at in some])
        for at, row in zip(some, read, strict=True):
            best = int(row.argmax())
            answers[at] = Answer(self.config["labels"][best], round(float(row[best]), DECIMALS))
        return answers


def is_empty(text):
    return text is None or not text.strip()


def items(pieces, numbers):
    """What `Scorer` is called with for the pieces of these numbers, row by row."""
    absolute = [piece._replace(path=os.path.abspath(piece.path)) for piece in pieces]
    return [{"number": number, "piece": json.dumps(absolute[number])} for number in numbers]


def part_name(number, piece):
    """The name of the file with the answers for a piece."""
    return f"part-{number:05}{Path(piece.path).suffix.lower()}"
