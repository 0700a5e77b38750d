"""Where a request's exchange with the cache begins and ends, and its response passes.

Both are pure ASGI: `CacheMiddleware` around the application, `Recorder` right around a
cached route.
"""

import logging
import re
import time
from collections import OrderedDict
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.cache.engine.cache import Cache, reading_now
from app.cache.engine.entry import (
    CLIENT_POLICY,
    CREDENTIALS,
    MESSAGE_HEADERS,
    Lifetime,
    Pairs,
    Tags,
    answer_to,
    cache_status,
    entity_tag,
    lifetime_of,
    pairs_of,
    with_vary,
)
from app.cache.engine.exchange import SCOPE_KEY, Exchange, Run, current
from app.cache.engine.store import StoreError

log = logging.getLogger("app.cache")

_MOST_HINTS = 4096
_MOST_PLACES = 64  # of one hint
_FOUND_INSIDE = ("endpoint", "fastapi", "path_params", "route", "router", SCOPE_KEY)


class Head(NamedTuple):
    """A path, below its mounts; whether it is a cached GET, and has a HEAD itself."""

    mounts: tuple[re.Pattern[str], ...]
    path: re.Pattern[str]
    cached: bool
    own: bool

    def matches(self, path: str) -> bool:
        for mount in self.mounts:
            found = mount.match(path)
            if found is None:
                return False
            path = "/" + found.groupdict().get("path", "")
        return self.path.match(path) is not None


class Served:
    """What an application's middleware knows; no cache until it has started."""

    def __init__(self) -> None:
        self.cache: Cache | None = None
        self.heads: list[Head] = []  # in the order of their routes
        self.tags: Tags = "strong"
        # What a request needed the last time: a hint what to fetch ahead, in one go.
        self._hints: OrderedDict[int, tuple[str, ...]] = OrderedDict()
        self._warned = False

    def hint(self, request: int) -> tuple[str, ...]:
        """Return which places the same request asked for before."""
        return self._hints.get(request, ())

    def remember(self, request: int, places: tuple[str, ...]) -> None:
        """Take a request's places as the hint for the next one like it."""
        if places and len(places) <= _MOST_PLACES:
            self._hints[request] = places
            self._hints.move_to_end(request)
            if len(self._hints) > _MOST_HINTS:
                self._hints.popitem(last=False)

    def answers_head(self, path: str) -> bool:
        """Tell whether a HEAD of this path is answered by a cached GET."""
        found = [head for head in self.heads if head.matches(path)]
        return bool(found) and found[0].cached and not any(head.own for head in found)

    def warn(self) -> None:
        """Say once that nothing is cached, because the application was not started."""
        if not self._warned:
            self._warned = True
            log.warning(
                "Nothing is cached: the application was not started. Its lifespan has "
                "to run, as in `with TestClient(app)`."
            )


class CacheMiddleware:
    """Tells a request's cache, answers HEAD from GET, and logs the outcome."""

    def __init__(self, app: ASGIApp, served: Served) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        served = self._served
        if served.cache is None:
            served.warn()
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, served.cache, served.tags)
        inner = scope
        if scope["method"] == "HEAD" and served.answers_head(_path(scope)):
            # The server looks at the method of its own scope when it sends.
            inner, send = {**scope, "method": "GET"}, _without_body(send)
        inner[SCOPE_KEY] = exchange
        exchange.scope = inner
        same = _same_request(inner, exchange)
        hint = served.hint(same)
        outer = reading_now.get()
        if outer is not None:
            outer.use(
                None
            )  # a handler asks its own service: nobody tells what that read
        tokens = current.set(exchange), reading_now.set(exchange.reading)
        try:
            if hint:
                with suppress(StoreError):
                    await exchange.reading.look_ahead(served.cache, hint)
            await self._app(inner, receive, send)
        finally:
            current.reset(tokens[0])
            reading_now.reset(tokens[1])
            for name in _FOUND_INSIDE:  # for the middleware that sent it
                if name in inner:
                    scope[name] = inner[name]
        if exchange.outcome in ("HIT", "MISS"):
            served.remember(same, tuple(exchange.reading.used))
        if exchange.outcome is not None and log.isEnabledFor(logging.INFO):
            log.info(
                "CACHE %s: %s %s (%.2fms)",
                exchange.outcome,
                scope["method"],
                quote(scope["path"], safe="/"),
                (time.perf_counter() - exchange.started) * 1000,
            )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _same_request(scope: Scope, exchange: Exchange) -> int:
    """Return the same number for what is probably the same request again."""
    shown = (tuple(exchange.headers.getlist(name)) for name in CREDENTIALS)
    where = scope["method"], scope.get("root_path"), scope["path"]
    return hash((*where, scope["query_string"], *shown))


def _without_body(send: Send) -> Send:
    async def headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_only


class Recorder:
    """Holds a response back until it is complete, if it is to be stored.

    It stands right around the route, so it sees the response after validation,
    serialisation and the commit, and before any middleware adds to it.
    """

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self._start: Message | None = None
        self._silent = True

    async def send(self, message: Message) -> None:
        """Take a message of the route."""
        self._silent = False
        start, self._start = self._start, None
        if message["type"] == "http.response.start":
            self._exchange.reading.forget()  # what streams, or follows, takes its time
            if self._comes_whole(message):
                self._start = message
                return
            await self._let_go(message)
            _describe(message, self._exchange)
        elif start is not None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                start, message = await self._complete(start, message)
                await self._land(abandoned=False)
            else:
                await self._let_go(start)
            _describe(start, self._exchange)
            await self._send(start)
        await self._send(message)

    def _comes_whole(self, start: Message) -> bool:
        """Tell whether to wait for the body; that of a stream may come much later."""
        run = self._exchange.run
        wanted = self._exchange.untagged if run is None else not run.ticket.why_not
        return wanted and "content-length" in Headers(raw=start["headers"])

    async def _let_go(self, start: Message) -> None:
        """End a run whose response is sent as it comes."""
        run = self._exchange.run
        if run is not None and start["status"] == 200:
            why = run.ticket.why_not or "its response has no Content-Length"
            self._exchange.unstored(run.policy, why)
        await self._land(abandoned=False)

    async def close(self) -> None:
        """End a run whose response never came."""
        await self._land(abandoned=self._silent)

    async def _land(self, *, abandoned: bool) -> None:
        run, self._exchange.run = self._exchange.run, None
        if run is not None:
            await run.ticket.land(None, abandoned=abandoned)

    async def _complete(
        self, start: Message, message: Message
    ) -> tuple[Message, Message]:
        """Store the response, and answer as a later hit will."""
        exchange, run = self._exchange, self._exchange.run
        body, pairs = message.get("body", b""), pairs_of(start["headers"])
        fresh = pairs_of(run.fresh) if run is not None else ()
        own = tuple(pair for pair in pairs if pair not in fresh)
        ttl = run.ticket.wanted.ttl if run is not None else 0
        lifetime = lifetime_of(own, ttl, shared=run is not None and run.shared)
        if start["status"] != 200 or lifetime.why_not:
            if run is not None and start["status"] == 200:
                exchange.unstored(run.policy, lifetime.why_not)
            return start, message
        varies = run.varies if run is not None else set()
        kept = _kept(own, body, varies, exchange.tags)
        if run is not None and not await self._store(
            run, body, own, kept, fresh, lifetime
        ):
            return start, message
        status, headers = answer_to(exchange.headers, kept, exchange.tags)
        headers += [
            raw
            for raw, pair in zip(start["headers"], pairs, strict=True)
            if pair in fresh or (status == 200 and pair[0] in MESSAGE_HEADERS)
        ]
        if status != 200:
            message = {"type": message["type"], "body": b""}
        return {**start, "status": status, "headers": headers}, message

    async def _store(
        self,
        run: Run,
        body: bytes,
        own: Pairs,
        kept: Pairs,
        fresh: Pairs,
        lifetime: Lifetime,
    ) -> bool:
        """Store an entry; False when there is none."""
        exchange, ticket = self._exchange, run.ticket
        if not run.status:
            ticket.why_not = "an exception's handler made its answer"
        elif {name for name, _ in fresh} & {name for name, _ in kept}:
            ticket.why_not = "its handler and a dependency both set a header"
        entry = ticket.entry(body, run.status, kept, ttl=lifetime.ttl, age=lifetime.age)
        if entry is None:
            exchange.unstored(run.policy, ticket.why_not)
            return False
        place = run.place(own)
        if place is None:
            return False
        if await ticket.store(place, entry):
            exchange.status += ("stored",)
        return True


def _kept(own: Pairs, body: bytes, varies: set[str], tags: Tags) -> Pairs:
    """Return what an entry has of a response's own headers, and what it adds."""
    names = {name for name, _ in own}
    vary = ", ".join(value for name, value in own if name == "vary")
    added = [("vary", with_vary(vary, varies))]
    if "etag" not in names and tags != "none":
        added.append(("etag", entity_tag(body, weak=tags == "weak")))
    if "cache-control" not in names:
        added.append(("cache-control", CLIENT_POLICY))
    left_out = MESSAGE_HEADERS | {"vary"}
    return (*(pair for pair in own if pair[0] not in left_out), *added)


def _describe(start: Message, exchange: Exchange) -> None:
    if exchange.outcome is None:
        return
    status = (b"cache-status", cache_status(exchange.status))
    start["headers"] = [*start["headers"], status]
    if exchange.outcome != "BYPASS":
        start["headers"].append((b"x-fastapi-cache", exchange.outcome.encode("ascii")))
