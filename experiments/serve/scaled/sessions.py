"""Streams that have a name, and so outlive their connection."""

import re
from collections import OrderedDict
from typing import NamedTuple

from experiments.serve.conversation import Conversation
from experiments.serve.limits import MOST_SESSIONS
from experiments.serve.messages import RequestError


class Kept(NamedTuple):
    """What is kept of a stream after each message that was answered.

    number: of messages so far.
    state: of the stream; None for that before the first token.
    text: as far as its gates can be shown.
    answer: to the last message.
    """

    number: int = 0
    state: bytes | None = None
    text: str = ""
    answer: dict | None = None


class Kepts:
    """What is kept of all streams, of at most `most`: those that were silent longest are forgotten."""

    def __init__(self, most=MOST_SESSIONS):
        self.most = most
        self.by_name = OrderedDict()

    def kept(self, name):
        return self.by_name.get(name, Kept())

    def keep(self, name, kept):
        """Keep what follows what is kept, or is kept already; returns False if it is neither."""
        last = self.by_name.get(name)
        if last is not None and kept != last and kept.number != last.number + 1:
            return False
        self.by_name[name] = kept
        self.by_name.move_to_end(name)
        if len(self.by_name) > self.most:
            self.by_name.popitem(last=False)
        return True


def check_session(name):
    """Raise `RequestError` unless it can be the name of a session, which others should not guess."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", name):
        raise RequestError("session must be 16 to 64 letters, digits, - and _, such as those of a UUID.")


class SessionConversation(Conversation):
    """A conversation whose stream is kept by its name, if it has one.

    Args:
        service: its `sessions` has `kept(name)` and `keep(name, kept)`, as `Kepts`, to be awaited.
        session: the name, or None.
    """

    def __init__(self, service, session):
        super().__init__(service)
        self.session = session
        self.last = None  # what is kept; None before the first message

    async def _answer(self, message):
        if self.session is None or self.why_not:
            return await super()._answer(message)
        if self.last is None:
            check_session(self.session)
            self._go_on(await self.service.sessions.kept(self.session))
        number = message.get("number", self.last.number + 1)
        if number == self.last.number and self.last.answer is not None:
            return self.last.answer
        if isinstance(number, bool) or number != self.last.number + 1:
            raise RequestError(
                f"This session has {self.last.number} messages; expected number {self.last.number + 1} or, "
                f"to hear the last answer again, {self.last.number}; got {str(number)[:20]}."
            )
        return await self._kept_answer(message, number)

    async def _kept_answer(self, message, number):
        """The answer to a message, once it is kept; without it, the conversation stays where it was."""
        try:
            answer = {**await super()._answer(message), "number": number}
            kept = Kept(number, self.stream.state, self.text, answer)
            if not await self.service.sessions.keep(self.session, kept):
                raise RequestError("Another connection goes on with this session; connect again.")
        except RequestError:
            self._go_on(self.last)
            raise
        self.last = kept
        return answer

    def _go_on(self, kept):
        self.last, self.stream.state, self.text = kept, kept.state, kept.text
