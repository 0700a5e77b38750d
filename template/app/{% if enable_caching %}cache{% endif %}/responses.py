"""Caching what a route answers: the final response, byte for byte."""

import time
from collections.abc import Iterable
from typing import Any

from fastapi import BackgroundTasks, Request, Response
from starlette.datastructures import Headers
from starlette.responses import FileResponse, StreamingResponse

from app.cache.attempt import Attempt
from app.cache.engine import running
from app.cache.entry import Entry
from app.cache.exchange import Exchange, exchange_of
from app.cache.http import (
    CLIENT_POLICY,
    condition_status,
    directives_of,
    entity_tag,
    not_modified_headers,
    with_vary,
)
from app.cache.policy import CachePolicy
from app.cache.ticket import Found, Ticket, admit

# Headers that belong to one message or to the way it travels, not to the response.
_NOT_STORED = {"age", "cache-status", "connection", "content-length", "date"}


class ResponseAttempt(Attempt):
    """A handler's run; the middleware stores what it sends, and lands the ticket."""

    def __init__(self, ticket: Ticket, kwargs: dict[str, Any]) -> None:
        self._ticket = ticket
        self._kwargs = kwargs

    async def finish(self, result: Any) -> Any:
        tasks = (v for v in self._kwargs.values() if isinstance(v, BackgroundTasks))
        if (
            any(task.tasks for task in tasks)
            or isinstance(result, FileResponse | StreamingResponse)
            or (isinstance(result, Response) and result.background is not None)
        ):
            self._ticket.storable = False
        return result


async def begin(
    policy: CachePolicy, request: Request, kwargs: dict[str, Any]
) -> Attempt:
    """Return the stored response, or the run that is to make it."""
    engine, exchange = running(), exchange_of(request.scope)
    if engine is None or exchange is None or request.method != "GET":
        return Attempt()
    directives = directives_of(request.headers)
    if directives.no_store or "range" in request.headers:
        exchange.settle("BYPASS", "fwd=bypass")
        return Attempt()

    def accepts(entry: Entry) -> bool:
        same = all(request.headers.get(name, "") == was for name, was in entry.varies)
        return same and directives.accepts(entry)

    key = await policy.key(request, (), kwargs)
    found = await admit(
        engine,
        policy,
        key,
        accepts,
        fresh=directives.no_cache,
        storable=not exchange.open_transactions,
    )
    if isinstance(found, Found):
        return Attempt.of(_replay(request, exchange, found))
    if directives.only_if_cached:
        await found.land(None)
        exchange.settle("MISS", "fwd=miss")
        return Attempt.of(Response(status_code=504))  # RFC 9111 5.2.1.7
    exchange.ticket = found
    exchange.settle("MISS", "fwd=request" if directives.no_cache else "fwd=miss")
    return ResponseAttempt(found, kwargs)


def make_entry(
    ticket: Ticket,
    request: Headers,
    status: int,
    headers: Iterable[tuple[str, str]],
    body: bytes,
) -> Entry | None:
    """Return the entry of a complete response, or None when it must not be stored.

    RFC 9111 3: only what every later request for this key may be given.
    """
    kept = [(name, value) for name, value in headers if name not in _NOT_STORED]
    own = dict(kept)
    vary = own.get("vary", "")
    if (
        status != 200
        or "set-cookie" in own
        or "no-store" in own.get("cache-control", "").lower()
        or "*" in vary
    ):
        return None
    kept = [(name, value) for name, value in kept if name != "vary"]
    kept.append(("vary", with_vary(vary)))
    if "etag" not in own:
        kept.append(("etag", entity_tag(body)))
    if "cache-control" not in own:
        kept.append(("cache-control", CLIENT_POLICY))
    named = [name.strip().lower() for name in vary.split(",")]
    varies = tuple((name, request.get(name, "")) for name in named if name)
    return ticket.entry(body, status, tuple(kept), varies)


def _replay(request: Request, exchange: Exchange, found: Found) -> Response:
    entry, now = found.entry, time.time()
    headers = list(entry.headers)
    status = condition_status(request.headers, dict(headers)["etag"])
    if found.collapsed:
        exchange.settle("MISS", "fwd=miss", "collapsed")
    else:
        exchange.settle("HIT", "hit", f"ttl={max(0, int(entry.expires_at - now))}")
    body = entry.body if status == 200 else b""
    response = Response(body, entry.status if status == 200 else status)
    if status == 304:
        headers = not_modified_headers(headers)
    elif status == 412:
        headers = []
    if status != 304:
        headers.append(("content-length", str(len(body))))
    if not found.collapsed:
        headers.append(("age", str(max(0, int(now - entry.stored_at)))))
    response.raw_headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
    ]
    return response
