"""Pure ASGI middleware that stores what a cached route really sent.

It is the innermost middleware, so it sees the bytes of the route's own response:
after validation, serialisation and the commit, before anything else adds to them.
"""

import logging
import re
import time
from collections.abc import Sequence
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache.entry import Entry
from app.cache.exchange import SCOPE_KEY, Exchange, current
from app.cache.http import cache_status, condition_status, not_modified_headers
from app.cache.responses import make_entry

log = logging.getLogger("app.cache")


class CacheMiddleware:
    """Completes what `@cached` began: stores misses, answers HEAD, logs."""

    def __init__(self, app: ASGIApp, head_paths: Sequence[re.Pattern[str]]) -> None:
        self._app = app
        # Filled at startup: the paths of the cached routes, which answer HEAD too.
        self._head_paths = head_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope)
        scope[SCOPE_KEY] = exchange
        head = scope["method"] == "HEAD" and self._answers_head(scope["path"])
        if head:
            scope["method"] = "GET"
        reset = current.set(exchange)
        recorder = _Recorder(exchange, send, head=head)
        try:
            await self._app(scope, receive, recorder.send)
        finally:
            current.reset(reset)
            if head:
                scope["method"] = "HEAD"
            if exchange.ticket is not None:
                await exchange.ticket.land(None, abandoned=recorder.silent)
        if exchange.outcome is not None:
            elapsed = (time.perf_counter() - exchange.started) * 1000
            log.info(
                "CACHE %s: %s %s (%.2fms)",
                exchange.outcome,
                scope["method"],
                quote(scope["path"], safe="/"),
                elapsed,
            )

    def _answers_head(self, path: str) -> bool:
        return any(pattern.match(path) for pattern in self._head_paths)


class _Recorder:
    """Holds a response back until it is complete, if it is to be stored."""

    def __init__(self, exchange: Exchange, send: Send, *, head: bool) -> None:
        self._exchange = exchange
        self._send = send
        self._head = head
        self._start: Message | None = None
        self.silent = True

    async def send(self, message: Message) -> None:
        self.silent = False
        if message["type"] == "http.response.start":
            await self._on_start(message)
        elif self._start is not None:
            await self._on_body(message)
        elif self._head and message["type"] == "http.response.body":
            await self._send({**message, "body": b""})
        else:
            await self._send(message)

    async def _on_start(self, message: Message) -> None:
        if self._exchange.ticket is not None:
            self._start = message
            return
        _describe(message, self._exchange)
        await self._send(message)

    async def _on_body(self, message: Message) -> None:
        start, self._start = self._start, None
        ticket = self._exchange.ticket
        if start is None or ticket is None:  # pragma: no cover - for the types
            raise RuntimeError("a body without its start")
        entry = None
        if message["type"] == "http.response.body" and not message.get("more_body"):
            entry = make_entry(
                ticket,
                self._exchange.headers,
                start["status"],
                _decoded(start),
                message.get("body", b""),
            )
        if entry is not None:
            if await ticket.engine.store(ticket.lookup.key, entry):
                self._exchange.status += ("stored",)
            start, message = self._conditional(start, message, entry)
        await ticket.land(entry)
        _describe(start, self._exchange)
        await self._send(start)
        if self._head:
            message = {**message, "body": b""}
        await self._send(message)

    def _conditional(
        self, start: Message, body: Message, entry: Entry
    ) -> tuple[Message, Message]:
        headers = dict(entry.headers)
        status = condition_status(self._exchange.headers, headers["etag"])
        if status == 200:
            sent = MutableHeaders(scope=start)
            for name in ("vary", "etag", "cache-control"):
                sent[name] = headers[name]
            return start, body
        kept = not_modified_headers(list(entry.headers)) if status == 304 else []
        return (
            {"type": "http.response.start", "status": status, "headers": encoded(kept)},
            {"type": "http.response.body", "body": b""},
        )


def encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
    ]


def _decoded(start: Message) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in start.get("headers", ())
    ]


def _describe(start: Message, exchange: Exchange) -> None:
    if exchange.outcome is None:
        return
    start["headers"] = [
        *start.get("headers", ()),
        (b"cache-status", cache_status(*exchange.status).encode("ascii")),
    ]
    if exchange.outcome != "BYPASS":
        start["headers"].append((b"x-fastapi-cache", exchange.outcome.encode("ascii")))
