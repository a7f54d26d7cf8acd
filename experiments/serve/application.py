"""The web application: what is answered at which address."""

from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

from experiments.common.reading import seer_of
from experiments.serve.conversation import Conversation, converse
from experiments.serve.limits import BODY_SECONDS, MOST_BYTES, MOST_PICTURE_BYTES, MOST_PICTURES
from experiments.serve.messages import RequestError, flag_in, parsed, texts_in


def service_of(path):
    """The service for what is served: a run about pictures, or a model of text."""
    from experiments.serve.service import Service, config_of  # not needed where other processes answer

    config = Path(path) / "config.json"
    task = config_of(config).get("task") if config.is_file() else None
    see, _ = seer_of(task) if isinstance(task, str) else (None, False)
    if see is None:
        return Service(path)
    from experiments.serve.pictures import PictureService  # Pillow is needed for pictures alone

    return PictureService(path)


def application(service, middleware=(), conversation=None, lifespan=None):
    """The application for a `Service` or a `PictureService`; the package says what it answers.

    conversation: makes the `Conversation` of a WebSocket, if it is not one that ends with it.
    lifespan: what Starlette does before the first request and after the last.
    """
    routes = [Route("/", page), Route("/model", about), *ROUTES[service.page]]
    app = Starlette(routes=routes, middleware=middleware, lifespan=lifespan)
    app.state.service = service
    app.state.streams = set()
    app.state.conversation = conversation or (lambda socket: Conversation(service))
    return app


async def page(request):
    path = Path(__file__).parent / request.app.state.service.page
    return HTMLResponse(path.read_text(encoding="utf-8"))


async def about(request):
    return JSONResponse(request.app.state.service.about())


async def predict(request):
    return await answered(request, _predict)


async def _predict(request):
    service = request.app.state.service
    message = parsed(await body_of(request, MOST_BYTES))
    texts, with_gates = texts_in(message), flag_in(message, "gates")
    return {"predictions": await service.predict_all(texts, with_gates, request.is_disconnected)}


async def look(request):
    service = request.app.state.service
    if service.open >= MOST_PICTURES:
        error = f"{MOST_PICTURES} pictures are looked at already; try later."
        return JSONResponse({"error": error}, status_code=503, headers={"Connection": "close"})
    service.open += 1
    try:
        return await answered(request, _look)
    finally:
        service.open -= 1


async def _look(request):
    content = await body_of(request, MOST_PICTURE_BYTES)
    if await request.is_disconnected():
        raise ClientDisconnect
    return await request.app.state.service.look(content, request.query_params.get("question"))


async def answered(request, answer):
    """The response to a request, for which `answer(request)` tells what the JSON holds."""
    try:
        return JSONResponse(await answer(request))
    except RequestError as error:
        return JSONResponse({"error": str(error)}, status_code=error.status)
    except TimeoutError:
        error = f"The message was not whole after {BODY_SECONDS} seconds."
        return JSONResponse({"error": error}, status_code=408, headers={"Connection": "close"})
    except ClientDisconnect:
        return Response()


async def body_of(request, most):
    """The body of a request; a RequestError if it is too large, a TimeoutError if it does not come."""
    content = bytearray()
    with anyio.fail_after(BODY_SECONDS):
        async for part in request.stream():
            content += part
            if len(content) > most:
                raise RequestError(f"The message is larger than {most} bytes.")
    return bytes(content)


# what is answered beside the page and `/model`, by the page
ROUTES = {
    "page.html": [Route("/predict", predict, methods=["POST"]), WebSocketRoute("/stream", converse)],
    "pictures.html": [Route("/look", look, methods=["POST"])],
}
