"""What a client may cost before its request is there: bytes, seconds, connections.

uvicorn's own protocol keeps a head of any size, and waits for it for ever.
"""

import asyncio
import os
import signal
import threading
import time
from typing import Any, ClassVar

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.config import get_settings
from app.errors import AppError, HeadTooLarge, TooSlow, Unavailable, problem_response
from app.logs import SERVER

# Bytes of a request line with its headers: as much as nginx takes.
MAX_HEAD_SIZE = 32_768
# Seconds that an idle connection stays open when the service ends.
LINGER = 1.0
# Seconds from the end of the application to that of the process.
LAST = 5.0


class Connection(HttpToolsProtocol):
    """A connection of `api-admin serve`; uvicorn: `--http app.connections:Connection`.

    READ_TIMEOUT seconds are there for a request's head, and between two parts of its
    body. When MAX_CONNECTIONS are open, the one that has waited the longest for its
    request to be complete makes room for a new one.
    """

    waiting: ClassVar[dict["Connection", None]] = {}
    told: ClassVar[float] = 0.0
    ending: ClassVar[bool] = False  # whether the process does

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._settings = get_settings()
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._incomplete = False  # whether a request has begun and not ended
        self._unread = 0  # bytes since the last part of a body: a head, or trailers
        self._last = False  # whether the next request is the last one

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self._tell()
            if not self.waiting:
                self._refuse(Unavailable("The service has too many connections."))
                return
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            oldest.transport.abort()
        self.waiting[self] = None
        self._watch()
        if Connection.ending:  # it was accepted just before
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # the latter: it is a WebSocket now
        if self._unread > MAX_HEAD_SIZE:
            self._refuse(HeadTooLarge())
        elif self._incomplete or self.cycle is None or self.cycle.response_complete:
            self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._incomplete = True

    def on_headers_complete(self) -> None:
        self._progress()
        super().on_headers_complete()
        if self._last and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._progress()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._incomplete = False
        self._unread = 0
        self._unwatch()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self.waiting[self] = None

    def shutdown(self) -> None:
        """Close the connection, but for a client that is just sending a request.

        It would be lost (RFC 9112 9.6), so it is answered, with `Connection: close`.
        """
        Connection.ending = self._last = True
        if self.cycle is None or self.cycle.response_started:
            self.loop.call_later(LINGER, super().shutdown)
        else:
            super().shutdown()

    def _progress(self) -> None:
        self._unread = 0
        self._since = self.loop.time()

    def _watch(self) -> None:
        if self._timer is None:
            self._since = self.loop.time()
            self._timer = self.loop.call_later(self._settings.read_timeout, self._look)

    def _unwatch(self) -> None:
        self.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Close the connection, unless something has come meanwhile."""
        if self.flow.read_paused:  # it is the route that does not read
            self._since = self.loop.time()
        left = self._since + self._settings.read_timeout - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
        elif self.cycle is None or self.cycle.response_complete:
            self._refuse(TooSlow())
        else:
            self.transport.abort()  # a route waits for the rest, and is told

    def _refuse(self, error: AppError) -> None:
        """Say why, to whom still listens, and close the connection."""
        response = problem_response(error)
        head = [b"HTTP/1.1 %d %b" % (error.status, error.status.phrase.encode())]
        head += [b"%b: %b" % header for header in response.raw_headers]
        head += [b"connection: close", b"", b""]
        self.transport.write(b"\r\n".join(head) + bytes(response.body))
        self.transport.close()

    def _tell(self) -> None:
        """Log once a minute that the limit is reached."""
        now = time.monotonic()
        if now - Connection.told > 60 or not Connection.told:
            Connection.told = now
            SERVER.warning(
                "MAX_CONNECTIONS=%d are open: the oldest without a request are closed",
                self._settings.max_connections,
            )


def create_app() -> ASGIApp:
    """Return the service for a process that does nothing else, and so may end.

    A plain `def` route that runs in a thread cannot be cut off: Python would wait for
    it, for ever.
    """
    from app.main import create_app

    app = create_app()
    if Connection.ending:  # before uvicorn was there to hear of it
        signal.raise_signal(signal.SIGTERM)

    async def ending(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        if scope["type"] == "lifespan":
            timer = threading.Timer(LAST, _end)
            timer.daemon = True
            timer.start()

    return ending


def _end() -> None:
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(not thread.daemon for thread in others):
        SERVER.warning("A plain def still runs, and cannot be cut off: ending anyway")
        os._exit(0)
