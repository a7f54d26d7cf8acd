"""A model of text, and what it tells, as JSON holds it."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

import keras_gates
from experiments.common import highlight
from experiments.common.errors import InputError
from experiments.serve.limits import CHUNK, MOST_TRACED
from experiments.serve.messages import RequestError
from experiments.serve.split import split
from keras_gates.serving.program import NotNativeError


class Service:
    """An exported model of text, and the turns that connections take at it.

    Args:
        path: a SavedModel that `keras_gates.export` wrote, or a run folder that holds one.

    Raises:
        FileNotFoundError, ValueError: there is none, it is damaged, or it does not take text.
    """

    page = "page.html"

    def __init__(self, path):
        path = Path(path)
        is_run = (path / "saved_model").is_dir()
        config = path / "config.json"
        labels = config_of(config).get("labels") if is_run and config.is_file() else None
        self.served = keras_gates.load(path / "saved_model" if is_run else path)
        self.labels = self.served.metadata.get("classes") or labels or []
        inputs = list(self.served.signature("serving_default").structured_input_signature[1].values())
        if len(inputs) != 1 or inputs[0].dtype.name != "string":
            raise InputError(f"The model at {path} does not take text, so there is nothing to type.")
        self.takes_words = inputs[0].shape.rank == 2
        self._check_outputs(path)
        self.gap = "" if self.served.metadata.get("split") == "character" else " "
        self.native = self.why_no_stream() is None and self._streams_natively()
        # Each is one thread, which takes what it is given in the order it came: a connection that asks for
        # one short turn after the other has those of other connections in between. Whole texts take longer
        # and have a thread of their own.
        self.short_turns = ThreadPoolExecutor(1, "short turns")
        self.long_turns = ThreadPoolExecutor(1, "long turns")

    def _check_outputs(self, path):
        outputs = self.served.signature("serving_default").structured_outputs
        self.tags = {"tags", "probabilities"} <= outputs.keys()
        if not self.tags and len(outputs) != 1:
            raise InputError(
                f"The model at {path} gives {', '.join(sorted(outputs))}; "
                "one output for labels is expected, or tags and probabilities."
            )
        size = outputs["probabilities"].shape[-1] if self.tags else next(iter(outputs.values())).shape[-1]
        kinds = 2 if size == 1 else size
        labels = self.labels
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise InputError(f"The labels of {path} must be a list of names; got {str(labels)[:60]}.")
        if labels and kinds is not None and len(labels) != kinds:
            raise InputError(f"The model at {path} tells {kinds} labels apart, and {len(labels)} are named.")

    def why_no_stream(self):
        """Why the model cannot take a text bit by bit; None if it can."""
        try:
            self.served.signature("step")
            self.served.signature("tokenize")
        except ValueError as error:
            return str(error)
        return None

    def _streams_natively(self):
        """Whether NumPy can compute the steps of a stream."""
        try:
            self.served.stream(native=True)
        except NotNativeError:
            return False
        return True

    def about(self):
        """What the page needs to know."""
        tags = [highlight.Token("", tag, 1.0) for tag in self.labels]
        return {
            "streams": self.why_no_stream() is None,
            "by_character": not self.gap,
            "colours": highlight.colours_of([tags]),
        }

    def stream(self):
        """A stream for a connection: native where the model allows it, else of TensorFlow."""
        return self.served.stream(native=self.native)

    async def predict_all(self, texts, with_gates, is_gone):
        """The answers for whole texts, one after the other, as long as the client has not gone.

        is_gone: a coroutine function that says whether it has.
        """
        predictions = []
        for text in texts:
            if await is_gone():
                break
            predictions.append(await self.predict(text, with_gates))
        return predictions

    async def predict(self, text, with_gates):
        """The answer for a whole text."""
        return await in_turn(self.long_turns, self._predict, text, with_gates)

    def _predict(self, text, with_gates):
        answer = self._told(self.read([text]), text)
        return {**answer, **self._gates(text)} if with_gates else answer

    def read(self, texts):
        """What the model gives for texts; a `RequestError` if one of them has nothing that it can read."""
        try:
            return self.served([self._input(text) for text in texts])
        except tf.errors.InvalidArgumentError as error:
            raise RequestError("The text holds nothing that the model reads.") from error

    async def push(self, stream, text):
        """The answer for a text that goes on with a stream, in chunks with a turn for each."""
        chunks = self._push(stream, text)
        while (answer := await in_turn(self.short_turns, next, chunks)) is None:
            pass
        return answer

    def _push(self, stream, text):
        """Push a text chunk by chunk; yields None after each but the last, and then the answer."""
        outputs = []
        for tokens in self.chunks(text):
            if outputs:
                yield None
            outputs.append(stream.push({"tokens": tokens}))
        yield self.told_of_chunks(outputs, text)

    def chunks(self, text):
        """The tokens of a text, in arrays of at most `CHUNK` steps, (1, steps).

        Raises `RequestError` if there are none.
        """
        tokens = self.served.tokens_of(text)
        if not tokens.shape[1]:
            raise RequestError("The text holds no word that the model reads.")
        return [tokens[:, start : start + CHUNK] for start in range(0, tokens.shape[1], CHUNK)]

    def told_of_chunks(self, outputs, text):
        """The answer for a text from the outputs for its chunks."""
        return self._told(self._joined(outputs), text)

    def _joined(self, outputs):
        """The outputs for the chunks of a text as those for the text."""
        if not self.tags:
            return outputs[-1]
        return {name: np.concatenate([chunk[name] for chunk in outputs], axis=1) for name in outputs[0]}

    async def gates(self, text):
        """Every gate and state at the last token, by name; nothing for a text that is too long."""
        return await in_turn(self.short_turns, self._gates, text)

    def _gates(self, text):
        if len(self.split(text)) > MOST_TRACED:
            return {}
        outputs = self.served.signature("serving_default").structured_outputs
        traced = self.served.trace([self._input(text)])
        last = {
            name: x[0, -1].numpy()
            for name, x in traced.items()
            # a net that reads the letters of each word has a row for every word
            if name not in outputs and x.shape.rank == 3 and x.shape[0] == 1
        }
        return {"gates": {name: np.round(x, 4).tolist() for name, x in last.items() if np.isfinite(x).all()}}

    def split(self, text):
        """The tokens of a text whose tags are told."""
        return split(text, self.takes_words, self.gap)

    def _input(self, text):
        return self.split(text) if self.takes_words else text

    def _told(self, outputs, text):
        """What the model gives for a text.

        A tag for each token; or the label, if there are names, and all probabilities. A model that answers
        at each word answers here at the last.
        """
        if self.tags:
            tags, all_probabilities = np.asarray(outputs["tags"]), np.asarray(outputs["probabilities"])
            of_tags = finite(highlight.probabilities_of(tags, all_probabilities, self.labels))
            tagged = zip(self.split(text), tags[0].tolist(), of_tags[0].tolist(), strict=False)
            return {
                "tokens": [
                    {"text": token, "tag": tag.decode(), "probability": probability}
                    for token, tag, probability in tagged
                ]
            }
        row = finite(last_step(outputs).astype("float64").reshape(-1))
        probabilities = [1 - row[0], row[0]] if len(row) == 1 else row.tolist()
        best = int(np.argmax(probabilities))
        return {"label": self.labels[best] if self.labels else str(best), "outputs": probabilities}


async def in_turn(thread, function, *arguments):
    """Call a function on a thread; if the caller is cancelled before its turn, do not call it."""
    return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)


def last_step(outputs):
    outputs = np.asarray(outputs)
    return outputs[0, -1] if outputs.ndim == 3 else outputs[0]


def finite(numbers):
    """The numbers, if JSON can hold them."""
    if not np.isfinite(numbers).all():
        raise RequestError("What the model gives for this text is not a finite number.")
    return numbers


def config_of(path):
    """The `config.json` of a run."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{path} is damaged: it must hold a JSON object.")
    return config
