"""Serve a trained model of text over HTTP: `python -m experiments.serve RUN`, then open the page it names.

- `POST /predict` with `{"texts": ["a film to remember"]}` answers for whole texts: the label and the
  probability of each, or the tag of every token.
- The WebSocket `/stream` takes words, or characters, as they come and holds the state of its connection:
  `{"push": "a film"}`, `{"reset": true}`. A model that reads both ways cannot stream, and says so.
- With `"gates": true` either tells what every gate does at the last token.
- `/` is a page on which text is typed and the prediction and the gates move; `/model` tells it of the model.
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
from experiments.common import highlight

MOST_BYTES = 64 * 1024
MOST_TEXTS = 64
MOST_TRACED = 400  # words or characters


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
        inputs = list(self.served.signature("serving_default").structured_input_signature[1].values())
        if len(inputs) != 1 or inputs[0].dtype.name != "string":
            raise ValueError(f"The model at {path} does not take text, so there is nothing to type.")
        self.takes_words = inputs[0].shape.rank == 2
        self.gap = "" if self.served.metadata.get("split") == "character" else " "
        # TensorFlow uses all cores for one answer; more answers at once would only wait for each other.
        self.turn = asyncio.Semaphore(2)

    async def run(self, function, *arguments):
        """Call a function of the model on another thread, so that other connections are heard meanwhile."""
        async with self.turn:
            return await asyncio.to_thread(function, *arguments)

    def why_no_stream(self):
        """Why the model cannot take a text bit by bit; None if it can."""
        try:
            self.served.signature("step")
            self.served.signature("tokenize")
        except ValueError as error:
            return str(error)
        return None

    def about(self):
        """What the page needs to know."""
        tags = [highlight.Token("", tag, 1.0) for tag in self.labels or []]
        return {
            "streams": self.why_no_stream() is None,
            "by_character": not self.gap,
            "colours": highlight.colours_of([tags]),
        }

    def split(self, text):
        """The tokens of a text whose tags are told."""
        if self.takes_words:
            return highlight.split_words(text)
        return text.split() if self.gap else list(text)

    def told(self, outputs, text):
        """What the model gives for a text, as JSON holds it.

        A tag for each token; or the label, if there are names, and all probabilities. A model that answers
        at each word answers here at the last.
        """
        if isinstance(outputs, dict) and {"tags", "probabilities"} <= outputs.keys():
            tags, best = outputs["tags"].numpy()[0], outputs["probabilities"].numpy()[0].max(axis=-1)
            tagged = zip(self.split(text), tags.tolist(), best.tolist(), strict=False)
            return {
                "tokens": [
                    {"text": token, "tag": tag.decode(), "probability": probability}
                    for token, tag, probability in tagged
                ]
            }
        row = np.asarray(last_step(outputs), "float64").reshape(-1)
        probabilities = [1 - row[0], row[0]] if len(row) == 1 else row.tolist()
        best = int(np.argmax(probabilities))
        return {"label": self.labels[best] if self.labels else str(best), "outputs": probabilities}

    def predict(self, texts, with_gates):
        """The answers for whole texts."""
        answers = [self.told(self.served(self.inputs(text)), text) for text in texts]
        if with_gates:
            for answer, text in zip(answers, texts, strict=True):
                answer.update(self.gates(text))
        return answers

    def inputs(self, text):
        return [self.split(text)] if self.takes_words else [text]

    def push(self, stream, text):
        return self.told(stream.push(text), text)

    def gates(self, text):
        """Every gate and state at the last token, by name; nothing for a text that is too long."""
        if len(self.split(text)) > MOST_TRACED:
            return {}
        outputs = self.served.signature("serving_default").structured_outputs
        traced = self.served.trace(self.inputs(text))
        last = {
            name: x[0, -1].numpy()
            for name, x in traced.items()
            # a net that reads the letters of each word has a row for every word
            if name not in outputs and x.shape.rank == 3 and x.shape[0] == 1
        }
        return {"gates": {name: np.round(x, 4).tolist() for name, x in last.items() if np.isfinite(x).all()}}


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
        message = parsed(bytes(content))
        texts = checked_texts(message)
        with_gates = bool(message.get("gates"))
        return JSONResponse({"predictions": await service.run(service.predict, texts, with_gates)})
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
    """What is kept of a connection: the state of its stream, and its text as far as gates can be shown."""

    def __init__(self, service):
        self.service = service
        self.why_not = service.why_no_stream()
        self.stream = None if self.why_not else service.served.stream()
        self.text = ""

    async def answer(self, message):
        if self.why_not:
            raise RequestError(f"{self.why_not} Ask /predict for whole texts.")
        if message.get("reset"):
            self.stream.reset()
            self.text = ""
        pushed = message.get("push")
        if pushed is None and message.get("reset"):
            return {"reset": True}
        gap = self.service.gap
        if not isinstance(pushed, str) or not (pushed.strip() if gap else pushed):
            raise RequestError('Send {"push": "some words"} or {"reset": true}.')
        try:
            told = await self.service.run(self.service.push, self.stream, pushed)
        except ValueError as error:  # such as punctuation alone, which is no word
            raise RequestError(str(error)) from error
        # beyond what is traced, nothing is kept but that it is beyond
        tokens = self.service.split(f"{self.text}{gap}{pushed}" if self.text else pushed)
        self.text = gap.join(tokens[: MOST_TRACED + 1])
        if message.get("gates"):
            told.update(await self.service.run(self.service.gates, self.text))
        return told


async def about(request):
    return JSONResponse(request.app.state.service.about())


async def page(request):
    return HTMLResponse(PAGE)


PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def application(path):
    """The web application for a model; see the module for what it answers."""
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/model", about),
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
