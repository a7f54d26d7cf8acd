"""Whose requests are answered: a web page that the user has open elsewhere must not talk to the server.

A page of another site can send requests to a server on the same machine. Its browser names the site in the
header `Origin`. A page can also make the name of its own site resolve to this machine (DNS rebinding); then
the `Host` header holds that name, and not one of the server's.
"""

import argparse
import re

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketClose

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # to listen at all of them; none that a client would name


def middleware(listens_at, hosts, origins):
    """The checks of `Host` and `Origin`.

    Args:
        listens_at: address that the server listens at; clients may name it.
        hosts: further names, without a port, under which clients may call the server.
        origins: further origins, such as `https://example.org`, whose pages may call it.
    """
    own = () if listens_at in EVERY_ADDRESS else (bracketed(listens_at),)
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *own, *hosts], www_redirect=False),
        Middleware(OriginMiddleware, origins=origins),
    ]


REFUSED = {
    "http": JSONResponse({"error": "Pages of this origin may not use the server."}, status_code=403),
    "websocket": WebSocketClose(),  # before the connection is accepted, this is a 403 too
}


class OriginMiddleware:
    """Refuses requests of web pages, unless the page is the server's own or of one of the origins given.

    Programs other than browsers send no `Origin` and are let through.
    """

    def __init__(self, app, origins):
        self.app = app
        self.origins = {origin.lower() for origin in origins}

    async def __call__(self, scope, receive, send):
        app = self.app
        if scope["type"] in ("http", "websocket") and not self._allows(Headers(scope=scope)):
            app = REFUSED[scope["type"]]
        await app(scope, receive, send)

    def _allows(self, headers):
        host = headers.get("host", "").lower()
        allowed = {f"http://{host}", f"https://{host}", *self.origins}
        return all(origin.lower() in allowed for origin in headers.getlist("origin"))


def bracketed(address):
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def host_name(text):
    """The type of the option `--allow-host`."""
    if not re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:.]+\]", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or an address, without a port")
    return text


def origin(text):
    """The type of the option `--allow-origin`."""
    if not re.fullmatch(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d+)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not an origin such as https://example.org:8443")
    return text
