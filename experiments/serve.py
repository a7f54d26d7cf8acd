"""Serve a trained model of text over HTTP: `python -m experiments.serve RUN`, then open the page it names.

- `POST /predict` with `{"texts": ["a film to remember"]}` answers for whole texts.
- The WebSocket `/stream` takes words as they come and holds the state of its connection: `{"push": "a film"}`
  (with `"gates": true` for what every gate does at the last word), `{"reset": true}`.
- `/` is a page on which text is typed and the prediction and the gates move.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

import keras_gates

MOST_BYTES = 64 * 1024
MOST_TEXTS = 64
MOST_TRACED_WORDS = 400


class RequestError(ValueError):
    """What is asked cannot be answered; the sentence goes to the one who asked."""


class Service:
    """An exported model of text, and what the requests have in common.

    Args:
        path: a SavedModel that `keras_gates.export` wrote, or a run folder that holds one.

    Raises:
        FileNotFoundError, ValueError: there is none, or it does not take text.
    """

    def __init__(self, path):
        path = Path(path)
        is_run = (path / "saved_model").is_dir()
        self.served = keras_gates.load(path / "saved_model" if is_run else path)
        config = path / "config.json"
        told = json.loads(config.read_text(encoding="utf-8")) if is_run and config.is_file() else {}
        self.labels = self.served.metadata.get("classes") or told.get("labels")
        self.served.signature("tokenize")
        # TensorFlow uses all cores for one answer; more answers at once would only wait for each other.
        self.turn = asyncio.Semaphore(2)

    async def run(self, function, *arguments):
        """Call a function of the model on another thread, so that other connections are heard meanwhile."""
        async with self.turn:
            return await asyncio.to_thread(function, *arguments)

    def told(self, row):
        """One row of outputs as JSON holds it: the label if there are names, and all numbers."""
        row = np.asarray(row, "float64").reshape(-1)
        probabilities = [1 - row[0], row[0]] if len(row) == 1 else row.tolist()
        best = int(np.argmax(probabilities))
        return {"label": self.labels[best] if self.labels else str(best), "outputs": probabilities}

    def predict(self, texts):
        """The answers for whole texts; a model that answers at each word answers here at the last."""
        return [self.told(last_step(self.served([text]))) for text in texts]

    def push(self, stream, words):
        return self.told(last_step(stream.push(words)))

    def gates(self, text):
        """Every gate and state at the last word, by name."""
        traced = self.served.trace([text])
        return {name: np.round(x[0, -1], 4).tolist() for name, x in traced.items() if x.shape.rank == 3}


def last_step(outputs):
    outputs = np.asarray(outputs)
    return outputs[0, -1] if outputs.ndim == 3 else outputs[0]


def parsed(content):
    """The JSON object in a message, or a RequestError."""
    if len(content) > MOST_BYTES:
        raise RequestError(f"The message is larger than {MOST_BYTES} bytes.")
    try:
        message = json.loads(content)
    except UnicodeDecodeError as error:
        raise RequestError("The message is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise RequestError("The message is not JSON.") from error
    if not isinstance(message, dict):
        raise RequestError("The message must be a JSON object.")
    return message


def checked_texts(message):
    texts = message.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise RequestError('Send {"texts": [...]}, a list of texts that are not empty.')
    if len(texts) > MOST_TEXTS:
        raise RequestError(f"At most {MOST_TEXTS} texts at once.")
    return texts


async def predict(request):
    service = request.app.state.service
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                raise RequestError(f"The message is larger than {MOST_BYTES} bytes.")
        texts = checked_texts(parsed(bytes(content)))
        return JSONResponse({"predictions": await service.run(service.predict, texts)})
    except RequestError as error:
        return JSONResponse({"error": str(error)}, status_code=400)


async def stream(socket):
    """One connection: one stream, from its first word to its end."""
    await socket.accept()
    conversation = Conversation(socket.app.state.service)
    while True:
        try:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            content = message.get("text")
            content = message["bytes"] if content is None else content.encode()
            await socket.send_json(await conversation.answer(parsed(content)))
        except RequestError as error:
            await socket.send_json({"error": str(error)})
        except WebSocketDisconnect:
            return


class Conversation:
    """What is kept of a connection: the state of its stream, and its words as far as gates can be shown."""

    def __init__(self, service):
        self.service = service
        self.stream = service.served.stream()
        self.words = []

    async def answer(self, message):
        if message.get("reset"):
            self.stream.reset()
            self.words = []
        words = message.get("push")
        if words is None and message.get("reset"):
            return {"reset": True}
        if not isinstance(words, str) or not words.strip():
            raise RequestError('Send {"push": "some words"} or {"reset": true}.')
        try:
            told = await self.service.run(self.service.push, self.stream, words)
        except ValueError as error:  # such as punctuation alone, which is no word
            raise RequestError(str(error)) from error
        # one more than are traced is kept, to know that there were more
        self.words = [*self.words, *words.split()][: MOST_TRACED_WORDS + 1]
        if message.get("gates") and len(self.words) <= MOST_TRACED_WORDS:
            told["gates"] = await self.service.run(self.service.gates, " ".join(self.words))
        return told


async def page(request):
    return HTMLResponse(PAGE)


PAGE = (Path(__file__).parent / "serve.html").read_text(encoding="utf-8")


def application(path):
    """The web application for a model; see the module for what it answers."""
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/predict", predict, methods=["POST"]),
            WebSocketRoute("/stream", stream),
        ]
    )
    app.state.service = Service(path)
    return app


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m experiments.serve", description="Serve a model of text.")
    parser.add_argument(
        "model", metavar="RUN", help="run folder, or SavedModel that keras_gates.export wrote"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen at (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        app = application(options.model)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    uvicorn.run(app, host=options.host, port=options.port, ws_max_size=MOST_BYTES, log_level="warning")


if __name__ == "__main__":
    sys.exit(main())
