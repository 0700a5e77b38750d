"""Caching what a route answers: the final response, byte for byte."""

import logging
import time
from functools import lru_cache
from typing import Any

from fastapi import BackgroundTasks, Request, Response
from starlette.datastructures import Headers
from starlette.responses import FileResponse, StreamingResponse
from starlette.types import Message

from app.cache.attempt import Attempt
from app.cache.digest import digest
from app.cache.engine import Engine, running
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
from app.cache.place import fingerprint_of
from app.cache.policy import CachePolicy
from app.cache.ticket import Found, Ticket, admit
from app.cache.values import Decoded, encode

log = logging.getLogger("app.cache")

RawHeaders = list[tuple[bytes, bytes]]

# Headers that belong to one message or to the way it travels, not to the response.
MESSAGE_HEADERS = frozenset(
    {"age", "cache-status", "connection", "content-length", "date"}
)
_LEFT_OUT = MESSAGE_HEADERS | {"vary"}


class ResponseAttempt(Attempt):
    """A handler's run; the middleware stores what it sends, and lands the ticket."""

    def __init__(
        self, policy: CachePolicy, ticket: Ticket, kwargs: dict[str, Any]
    ) -> None:
        self._policy = policy
        self._ticket = ticket
        self._kwargs = kwargs

    async def finish(self, result: Any) -> Any:
        if not self._repeatable(result):
            self._ticket.storable = False
        elif self._policy.coder is not None:
            try:
                self._ticket.coded = encode(self._policy, result)
            except Exception as error:  # what a coder raises cannot be known
                name = self._policy.function.__qualname__
                log.warning("%s: not cached: %s", name, error)
                self._ticket.storable = False
        return result

    def _repeatable(self, result: object) -> bool:
        """Tell whether sending the same bytes again does all that the handler did."""
        tasks = (v for v in self._kwargs.values() if isinstance(v, BackgroundTasks))
        if any(task.tasks for task in tasks):
            return False
        if not isinstance(result, Response):
            return True
        return (
            result.background is None
            and not isinstance(result, FileResponse | StreamingResponse)
            and self._policy.coder is None
        )


async def begin(
    policy: CachePolicy, request: Request, kwargs: dict[str, Any]
) -> Attempt:
    """Return the stored response, or the run that is to make it."""
    engine, exchange = running(), exchange_of(request.scope)
    if engine is None or exchange is None or request.method != "GET":
        return Attempt()
    headers = exchange.headers
    directives = directives_of(headers)
    if directives.no_store or "range" in headers:
        exchange.settle("BYPASS", "fwd=bypass")
        return Attempt()

    decoded = Decoded(policy) if policy.coder else None

    def accepts(entry: Entry) -> bool:
        return (
            selects(headers, entry)
            and directives.accepts(entry)
            and (decoded is None or decoded(entry))
        )

    key = await policy.key(request, (), kwargs)
    found = await admit(
        engine,
        policy,
        key,
        fingerprint_of(policy, request.scope),
        accepts,
        fresh=directives.no_cache,
        storable=not exchange.transactions,
    )
    if isinstance(found, Ticket) and not await engine.unchanged(exchange.sources):
        found.storable = False  # what the dependencies found is older than the lookup
    if isinstance(found, Found):
        if decoded is None:
            if not found.collapsed:
                exchange.hit = policy, key
            return Attempt.of(replay(engine, exchange, found))
        _describe(engine, exchange, found)
        exchange.found = found
        return Attempt.of(decoded.value)
    if directives.only_if_cached:
        await found.land(None, abandoned=True)
        exchange.settle("MISS", "detail=only-if-cached")
        return Attempt.of(Response(status_code=504))  # RFC 9111 5.2.1.7
    exchange.ticket = found
    why = "fwd=request" if directives.no_cache else "fwd=miss"
    exchange.settle("MISS", why, *_detail(engine))
    return ResponseAttempt(policy, found, kwargs)


def make_entry(
    ticket: Ticket, request: Headers, start: Message, body: bytes
) -> Entry | None:
    """Return the entry of a complete response, or None when it must not be stored.

    RFC 9111 3: only what every later request for this key may be given.
    """
    own = [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in start["headers"]
    ]
    names = {name for name, _ in own}
    vary = ", ".join(value for name, value in own if name == "vary")
    if (
        start["status"] != 200
        or "set-cookie" in names
        or "*" in vary
        or any(n == "cache-control" and "no-store" in v.lower() for n, v in own)
    ):
        return None
    kept = [(name, value) for name, value in own if name not in _LEFT_OUT]
    kept.append(("vary", with_vary(vary)))
    if "etag" not in names:
        kept.append(("etag", entity_tag(body)))
    if "cache-control" not in names:
        kept.append(("cache-control", CLIENT_POLICY))
    named = [name.strip().lower() for name in vary.split(",")]
    varies = tuple((name, digest(request.getlist(name))) for name in named if name)
    return ticket.entry(body, start["status"], tuple(kept), varies)


def selects(request: Headers, entry: Entry) -> bool:
    """Tell whether an entry answers a request with these headers (RFC 9111 4.1)."""
    return entry.status == 200 and all(
        digest(request.getlist(name)) == was for name, was in entry.varies
    )


def _detail(engine: Engine) -> tuple[str, ...]:
    # Who waited in vain for the server was answered without it, too.
    return ("detail=fallback",) if engine.storage.fallback else ()


def _describe(engine: Engine, exchange: Exchange, found: Found) -> None:
    if found.collapsed:
        exchange.settle("MISS", "fwd=miss", "collapsed", *_detail(engine))
    else:
        remaining = max(0, int(found.entry.expires_at - time.time()))
        exchange.settle("HIT", "hit", f"ttl={remaining}", *_detail(engine))


class _Replay(Response):
    """A response that is complete: nothing is rendered, nothing worked out."""

    def __init__(self, status: int, headers: RawHeaders, body: bytes) -> None:
        self.status_code = status
        self.raw_headers = headers
        self.body = body
        self.background = None


def replay(engine: Engine, exchange: Exchange, found: Found) -> Response:
    """Return the response that an entry holds, as an answer to this request."""
    _describe(engine, exchange, found)
    status, headers = answer_to(exchange.headers, found.entry)
    body = found.entry.body if status == 200 else b""
    if status != 304:
        headers.append((b"content-length", b"%d" % len(body)))
    if not found.collapsed:
        headers.append(age_of(found.entry))
    return _Replay(status, headers, body)


def answer_to(request: Headers, entry: Entry) -> tuple[int, RawHeaders]:
    """Return the status and the headers with which an entry answers a request."""
    status = 200
    if "if-none-match" in request or "if-match" in request:
        status = condition_status(request, dict(entry.headers).get("etag", ""))
    if status == 304:
        return status, [*_raw(tuple(not_modified_headers(entry.headers)))]
    return status, [*_raw(entry.headers)] if status == 200 else []


@lru_cache(maxsize=1024)
def _raw(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Return headers as they are sent; kept for the next hit."""
    return tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in headers)


def age_of(entry: Entry) -> tuple[bytes, bytes]:
    """Return the header that says for how many seconds an entry has been stored."""
    return b"age", b"%d" % max(0, time.time() - entry.stored_at)
