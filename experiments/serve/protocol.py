"""HTTP with a limit to the time that a client takes for a request."""

from uvicorn.protocols.http.h11_impl import H11Protocol

from experiments.serve.limits import REQUEST_SECONDS


class TimedProtocol(H11Protocol):
    """Closes connections on which no request, with all its headers, comes in time.

    uvicorn closes those on which nothing comes after an answer. One that sends half a request, or nothing at
    all, it keeps; and at its end it waits for the rest of a request. This does not.
    """

    def connection_made(self, transport):
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self):
        self._expect_request()
        super().on_response_complete()

    def shutdown(self):
        super().shutdown()
        if self.cycle is not None and self.cycle.more_body:
            self.transport.close()

    def _expect_request(self):
        self.loop.call_later(REQUEST_SECONDS, self._close_unless_requested, self.cycle)

    def _close_unless_requested(self, last):
        is_websocket = self.transport.get_protocol() is not self
        if self.cycle is last and not is_websocket:
            self.transport.close()
