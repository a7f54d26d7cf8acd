"""What an ingress knows of a model of text that runs in other processes."""

import time

import anyio

from experiments.serve.limits import RETRY_SECONDS
from experiments.serve.messages import RequestError
from experiments.serve.split import split

AGAIN = 0.2  # seconds


class Unavailable(RequestError):
    """No replica answers now."""

    status = 503


class RemoteStream:
    """The state of a stream, pickled by a replica of the model; None before the first token."""

    state = None

    def reset(self):
        self.state = None


class RemoteService:
    """The interface of `Service`, answered by other processes, which may be lost.

    Args:
        model: has the methods of the deployment `Model`, to be awaited.
        sessions: has the methods of `Kepts`, to be awaited.
        lost: the exceptions that say that a process was lost before it answered.
    """

    page = "page.html"

    def __init__(self, model, sessions, lost):
        self.model, self.sessions = Again(model, lost), Again(sessions, lost)
        self.described = None

    async def describe(self):
        """Ask the model, once, what the other methods must know."""
        self.described = await self.model.described()

    @property
    def gap(self):
        return self.described["gap"]

    def about(self):
        return self.described["about"]

    def why_no_stream(self):
        return self.described["why_no_stream"]

    def stream(self):
        return RemoteStream()

    async def predict_all(self, texts, with_gates, is_gone):
        answers = await self.model.predict(texts, with_gates)
        return [checked(answer) for answer in answers]

    async def push(self, stream, text):
        answer, state = await self.model.push(text, stream.state)
        checked(answer)
        stream.state = state
        return answer

    async def gates(self, text):
        return await self.model.gates(text)

    def split(self, text):
        return split(text, self.described["takes_words"], self.gap)


class Again:
    """The methods of a deployment, asked again where a process was lost before it answered.

    So a method must do no harm if it runs twice.
    """

    def __init__(self, handle, lost):
        self._handle, self._lost = handle, lost

    def __getattr__(self, name):
        async def asked(*arguments):
            until = time.monotonic() + RETRY_SECONDS
            while True:
                try:
                    return await getattr(self._handle, name).remote(*arguments)
                except self._lost as error:
                    if time.monotonic() > until:
                        raise Unavailable("No replica of the model answers; try later.") from error
                await anyio.sleep(AGAIN)

        return asked


def checked(answer):
    """An answer; a `RequestError` if it says that there is none."""
    if "error" in answer:
        raise RequestError(answer["error"])
    return answer
