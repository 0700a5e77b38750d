"""Pure ASGI middleware that stores what a cached route really sent.

It is the innermost middleware, so it sees the bytes of the route's own response:
after validation, serialisation and the commit, before anything else adds to them.
"""

import logging
import re
import time
from collections.abc import Sequence
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache.engine import running
from app.cache.entry import Entry
from app.cache.exchange import SCOPE_KEY, Exchange, current
from app.cache.http import cache_status
from app.cache.responses import MESSAGE_HEADERS, age_of, answer_to, make_entry
from app.cache.shortcut import Shortcuts
from app.cache.ticket import Ticket

log = logging.getLogger("app.cache")


class CacheMiddleware:
    """Completes what `@cached` began: stores misses, answers HEAD, logs."""

    def __init__(
        self,
        app: ASGIApp,
        head_paths: Sequence[re.Pattern[str]],
        shortcuts: Shortcuts,
    ) -> None:
        self._app = app
        # Filled at startup: the paths of the cached routes, which answer HEAD too.
        self._head_paths = head_paths
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD" and self._answers_head(scope):
            # A copy: the server reads in its own how the answer has to be framed.
            inner = {**scope, "method": "GET"}
            try:
                await self._handle(inner, receive, send, head=True)
            finally:  # what routing found is for the middleware around this one
                scope.update({**inner, "method": "HEAD"})
        else:
            await self._handle(scope, receive, send, head=False)

    async def _handle(
        self, scope: Scope, receive: Receive, send: Send, *, head: bool
    ) -> None:
        exchange = Exchange(scope)
        scope[SCOPE_KEY] = exchange
        reset = current.set(exchange)
        recorder = _Recorder(exchange, send, head=head)
        engine, answer = running(), None
        try:
            if engine is not None:
                answer = await self._shortcuts.answer(engine, exchange, scope)
            if answer is not None:
                await answer(scope, receive, recorder.send)
            else:
                await self._app(scope, receive, recorder.send)
                self._shortcuts.remember(exchange, scope)
        finally:
            current.reset(reset)
            if exchange.ticket is not None:
                await exchange.ticket.land(None, abandoned=recorder.silent)
        if exchange.outcome is not None and log.isEnabledFor(logging.INFO):
            elapsed = (time.perf_counter() - exchange.started) * 1000
            log.info(
                "CACHE %s: %s %s (%.2fms)",
                exchange.outcome,
                "HEAD" if head else scope["method"],
                quote(scope["path"], safe="/"),
                elapsed,
            )

    def _answers_head(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
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
        if self._exchange.ticket is not None or self._exchange.found is not None:
            self._start = message
            return
        _describe(message, self._exchange)
        await self._send(message)

    async def _on_body(self, message: Message) -> None:
        start, self._start = self._start, None
        if start is None:  # pragma: no cover - for the types
            raise RuntimeError("a body without its start")
        whole = message["type"] == "http.response.body" and not message.get("more_body")
        exchange, entry = self._exchange, None
        if exchange.found is not None and whole:
            entry = exchange.found.entry
        elif exchange.ticket is not None:
            entry = await self._store(exchange.ticket, start, message, whole)
        if entry is not None:
            start, message = self._conditional(start, message, entry)
        if exchange.found is not None and not exchange.found.collapsed:
            start["headers"].append(age_of(exchange.found.entry))
        _describe(start, exchange)
        await self._send(start)
        if self._head:
            message = {**message, "body": b""}
        await self._send(message)

    async def _store(
        self, ticket: Ticket, start: Message, message: Message, whole: bool
    ) -> Entry | None:
        entry = None
        if whole:
            body = message.get("body", b"")
            entry = make_entry(ticket, self._exchange.headers, start, body)
        if entry is not None and await ticket.store(entry):
            self._exchange.status += ("stored",)
        await ticket.land(entry)
        return entry

    def _conditional(
        self, start: Message, message: Message, entry: Entry
    ) -> tuple[Message, Message]:
        """Answer as a later hit will: with the headers of the entry."""
        status, headers = answer_to(self._exchange.headers, entry)
        if status == 200:
            headers += [h for h in start["headers"] if h[0].decode() in MESSAGE_HEADERS]
            return {**start, "headers": headers}, message
        message = {"type": "http.response.body", "body": b""}
        return {"type": start["type"], "status": status, "headers": headers}, message


def _describe(start: Message, exchange: Exchange) -> None:
    if exchange.outcome is None:
        return
    start["headers"] = [
        *start.get("headers", ()),
        (b"cache-status", cache_status(*exchange.status).encode("ascii")),
    ]
    if exchange.outcome != "BYPASS":
        start["headers"].append((b"x-fastapi-cache", exchange.outcome.encode("ascii")))
