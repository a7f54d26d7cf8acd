"""One WebSocket: one stream of the model, from its first word to its end."""

import asyncio
import contextlib

import anyio
from starlette.websockets import WebSocketDisconnect

from experiments.serve.limits import MOST_STREAMS, MOST_TRACED, MOST_WAITING, SEND_SECONDS
from experiments.serve.messages import RequestError, flag_in, parsed, pushed_in

TOO_MUCH, TRY_LATER = 1008, 1013  # status codes of a closing WebSocket
# what sending raises after the client went, and, a RuntimeError, after `hear` or `reply` closed the socket
GONE = (WebSocketDisconnect, RuntimeError)


class Conversation:
    """What is kept of a connection: the state of its stream, and its text as far as gates can be shown."""

    def __init__(self, service):
        self.service = service
        self.why_not = service.why_no_stream()
        self.stream = None if self.why_not else service.stream()
        self.text = ""

    async def answer(self, content):
        """The answer to a message, given as bytes; an error too is an answer."""
        try:
            return await self._answer(parsed(content))
        except RequestError as error:
            return {"error": str(error)}

    async def _answer(self, message):
        if self.why_not:
            raise RequestError(f"{self.why_not} Ask /predict for whole texts.")
        gap = self.service.gap
        pushed = pushed_in(message, by_character=not gap)
        with_gates = flag_in(message, "gates")
        if flag_in(message, "reset"):
            self.stream.reset()
            self.text = ""
        if pushed is None:
            return {"reset": True}
        told = await self.service.push(self.stream, pushed)
        # Beyond what is traced, nothing is kept but that it is beyond.
        tokens = self.service.split(f"{self.text}{gap}{pushed}" if self.text else pushed)
        self.text = gap.join(tokens[: MOST_TRACED + 1])
        if with_gates:
            told.update(await self.service.gates(self.text))
        return told


async def converse(socket):
    """Serve a WebSocket until the client goes, with all that it has waiting then dropped."""
    streams = socket.app.state.streams
    try:
        await socket.accept()
        if len(streams) >= MOST_STREAMS:
            await socket.close(TRY_LATER, f"There are {MOST_STREAMS} streams already.")
            return
    except WebSocketDisconnect:
        return
    streams.add(socket)
    waiting = asyncio.Queue(MOST_WAITING)
    try:
        async with anyio.create_task_group() as both:

            async def ending_both(part):
                await part(socket, waiting)
                both.cancel_scope.cancel()

            both.start_soon(ending_both, hear)
            both.start_soon(ending_both, reply)
    finally:
        streams.discard(socket)


async def hear(socket, waiting):
    """Keep what the client sends for `reply`; return when it goes, or does not wait for answers.

    It listens all the time, also while the model works, since only so it learns that the client has gone.
    """
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        content = message.get("text")
        try:
            waiting.put_nowait(message["bytes"] if content is None else content.encode())
        except asyncio.QueueFull:
            with anyio.move_on_after(SEND_SECONDS), contextlib.suppress(*GONE):
                await socket.close(TOO_MUCH, f"More than {MOST_WAITING} messages wait for an answer.")
            return


async def reply(socket, waiting):
    """Answer what the client sent, in its order; return when it takes no answers."""
    conversation = socket.app.state.conversation(socket)
    while True:
        answer = await conversation.answer(await waiting.get())
        try:
            with anyio.fail_after(SEND_SECONDS):
                await socket.send_json(answer)
        except (*GONE, TimeoutError):
            return
