"""The web application: what is answered at which address."""

from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from experiments.serve.conversation import converse
from experiments.serve.limits import BODY_SECONDS, MOST_BYTES
from experiments.serve.messages import RequestError, flag_in, parsed, texts_in

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")


def application(service, middleware=()):
    """The application for a `Service`; the package says what it answers."""
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/model", about),
            Route("/predict", predict, methods=["POST"]),
            WebSocketRoute("/stream", converse),
        ],
        middleware=middleware,
    )
    app.state.service = service
    app.state.streams = set()
    return app


async def page(request):
    return HTMLResponse(PAGE)


async def about(request):
    return JSONResponse(request.app.state.service.about())


async def predict(request):
    service = request.app.state.service
    try:
        message = parsed(await body_of(request))
        texts, with_gates = texts_in(message), flag_in(message, "gates")
        predictions = []
        for text in texts:
            if await request.is_disconnected():
                return Response()
            predictions.append(await service.predict(text, with_gates))
    except RequestError as error:
        return JSONResponse({"error": str(error)}, status_code=400)
    except TimeoutError:
        error = f"The message was not whole after {BODY_SECONDS} seconds."
        return JSONResponse({"error": error}, status_code=408, headers={"Connection": "close"})
    except ClientDisconnect:
        return Response()
    return JSONResponse({"predictions": predictions})


async def body_of(request):
    """The body of a request; a RequestError if it is too large, a TimeoutError if it does not come."""
    content = bytearray()
    with anyio.fail_after(BODY_SECONDS):
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                raise RequestError(f"The message is larger than {MOST_BYTES} bytes.")
    return bytes(content)
