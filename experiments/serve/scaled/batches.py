"""A model of text that answers several connections at once."""

import functools

import numpy as np

from experiments.serve.messages import RequestError
from experiments.serve.service import Service

SHORT, LONG = "a", " ".join("a" * 9)


class BatchedService(Service):
    """A `Service` that also reads texts, or steps of streams, in one batch.

    A batch changes no answer. A model that reads the padding behind a shorter text too, which one without
    masks does, is asked text by text.
    """

    def __init__(self, path):
        super().__init__(path)
        self.passes_over_padding = not self.takes_words and self._passes_over_padding()
        self.first = None if self.why_no_stream() else self.stream().state
        self.stacks = self.first is not None and self._stacks()
        # By the number of its rows, a stream that continues those of clients, one after the other.
        self.stream_of = functools.cache(lambda rows: self.served.stream(rows, native=self.native))

    def described(self):
        """What an ingress must know."""
        return {
            "about": self.about(),
            "why_no_stream": self.why_no_stream(),
            "takes_words": self.takes_words,
            "gap": self.gap,
        }

    def _stacks(self):
        """Whether the first axis of every state is that of the streams."""
        two = self.served.stream(2).state
        return all(len(state) == 1 and len(two[name]) == 2 for name, state in self.first.items())

    def _passes_over_padding(self):
        """Whether the answer for a text is the same beside a longer one."""
        alone = told_or_error(self._told, self.read([SHORT]), SHORT)
        beside = told_or_error(self._told, rows_of(self.read([SHORT, LONG]), 1)[0], SHORT)
        return np.allclose(_numbers(alone), _numbers(beside), rtol=0, atol=1e-5)

    def answers(self, texts):
        """An answer for each whole text; `{"error": …}` where there is none."""
        if not self.passes_over_padding:
            return [told_or_error(self._predict, text, False) for text in texts]
        try:
            outputs = self.read(texts)
        except RequestError:  # none of them has anything; beside one that has, they are read
            outputs = self.read([*texts, SHORT])
        rows = rows_of(outputs, len(texts))
        return [told_or_error(self._told, row, text) for row, text in zip(rows, texts, strict=True)]

    def steps(self, chunks, states):
        """Go on with several streams by a chunk each.

        chunks: tokens, (1, steps) each.
        states: the state of each stream before, a dict of arrays, or None for a new one.

        Returns the outputs of each, as `Stream.push`, and the state of each after.
        """
        outputs, after = [None] * len(chunks), [None] * len(chunks)
        for group in self._groups(chunks):
            rows = self._filled(group)
            before = [self.first if states[at] is None else states[at] for at in rows]
            stream = self.stream_of(len(rows))
            stream.state = {name: np.concatenate([state[name] for state in before]) for name in self.first}
            pushed = stream.push({"tokens": np.concatenate([chunks[at] for at in rows])})
            state = stream.state
            for row, (at, output) in enumerate(zip(group, rows_of(pushed, len(group)), strict=True)):
                outputs[at] = output
                after[at] = {name: value[row : row + 1] for name, value in state.items()}
        return outputs, after

    def _groups(self, chunks):
        """The places of chunks that are read in one batch: those of as many steps."""
        if not self.stacks:
            return [[at] for at in range(len(chunks))]
        by_length = {}
        for at, chunk in enumerate(chunks):
            by_length.setdefault(chunk.shape[1], []).append(at)
        return list(by_length.values())

    def _filled(self, group):
        """A group, for a native stream filled up with its last row to a power of two.

        Native steps need memory of their own for each number of rows, so there should be few such numbers.
        """
        missing = (1 << (len(group) - 1).bit_length()) - len(group) if self.native else 0
        return group + group[-1:] * missing


def rows_of(outputs, number):
    """The outputs for a batch, as those for each of its rows."""
    if isinstance(outputs, dict):
        arrays = {name: np.asarray(value) for name, value in outputs.items()}
        return [{name: value[at : at + 1] for name, value in arrays.items()} for at in range(number)]
    array = np.asarray(outputs)
    return [array[at : at + 1] for at in range(number)]


def _numbers(told):
    return told.get("outputs") or [token["probability"] for token in told.get("tokens", [])]


def told_or_error(tell, *arguments):
    try:
        return tell(*arguments)
    except RequestError as error:
        return {"error": str(error)}
