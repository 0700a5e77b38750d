"""What the cache knows of one request, from its lookup to its stored response."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Self

from starlette.background import BackgroundTasks
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.cache.engine.cache import Cache, Reading, reading_now
from app.cache.engine.entry import Pairs
from app.cache.engine.http import (
    CLIENT_POLICY,
    MESSAGE_HEADERS,
    Fields,
    Lifetime,
    RawHeaders,
    Tags,
    answer_to,
    cache_status,
    entity_tag,
    lifetime_of,
    pairs_of,
    rarely_counts,
    with_vary,
)
from app.cache.engine.policy import CachePolicy
from app.cache.engine.ticket import Found, Ticket

SCOPE_KEY = "app.cache"
Outcome = Literal["HIT", "MISS", "BYPASS"]


@dataclass(slots=True)
class Serving:
    """A cached route whose handler is called through what stands above `@cached`.

    `variant` tells these parameters from others with the same key.
    """

    exchange: "Exchange"
    policy: CachePolicy
    request: Request
    variant: Callable[[Mapping[str, Any]], str]


@dataclass(slots=True)
class Run:
    """A handler's run, whose response is stored when it is complete.

    `place` says where, by the headers of the response, None when that cannot be told;
    `fresh` are headers that dependencies set for this very request. `shared` tells
    whether others than who asks may be given it; `varies` has the headers that it is
    known to depend on. `status` is that of the entry, 0 where the
    handler has given nothing to store.
    """

    policy: CachePolicy
    ticket: Ticket
    place: Callable[[Pairs], str | None]
    fresh: RawHeaders
    shared: bool
    varies: set[str]
    status: int = 0

    def end(self, kind: object, *_: object) -> None:
        """Take back what the handler gave, if an exception came after it."""
        if kind is not None:
            self.status = 0


class Exchange:
    """One request's dealings with the cache.

    `tags` says what entity tags are good for. From its route's turn on, `response` and
    `tasks` are what dependencies and the handler set and add.
    """

    response: Response
    tasks: BackgroundTasks

    def __init__(self, scope: Scope, cache: Cache, tags: Tags) -> None:
        self.cache = cache
        self.scope = scope
        self.headers = Fields(scope)
        self.tags: Tags = tags
        self.started = time.perf_counter()
        self.reading = Reading()
        self.state = RecordedState(scope.setdefault("state", {}))
        self.received = False  # whether a body was asked for that no header announces
        self.sought: set[str] = set()  # headers that rarely count; "*": all there are
        self.outcome: Outcome | None = None
        self.status: tuple[str, ...] = ()
        self.serving: Serving | None = None
        self.run: Run | None = None
        self.untagged = False  # FastAPI makes the response anew, from a cached value

    def watch_body(self, receive: Receive) -> Receive:
        """Take note from now on of whether anybody asks for the request's body.

        From HTTP/2 on, no header has to say that there is one.
        """

        async def noted() -> Message:
            self.received = True
            return await receive()

        announced: bool = self.scope.get("http_version", "").startswith("1")
        return receive if announced else noted

    def watch_headers(self, scope: Scope) -> None:
        """Take note from now on of the headers that are looked for, by whomever."""
        headers = scope["headers"] = list(scope["headers"])
        if headers:
            headers[0] = (_FirstName(headers[0][0], self._seek), headers[0][1])
        else:
            self._seek("*")

    @property
    def never_count(self) -> set[str]:
        """The request headers that the owner has said to matter to no answer."""
        return {name.lower() for name in self.cache.settings.cache_ignored_headers}

    def _seek(self, name: str) -> None:
        counts = name == "*" or rarely_counts(name)
        if counts and name not in self.sought and name not in self.never_count:
            self.sought.add(name)
            note_inner_read()

    def take_serving(self, policy: CachePolicy) -> Serving | None:
        """Return the route that this call serves, None if it serves none."""
        serving = self.serving
        if serving is None or serving.policy is not policy:
            return None
        self.serving = None
        self.untagged = True
        return serving

    def found(self, found: Found | Ticket, *, fresh: bool = False) -> None:
        """Say what a lookup gave; `fresh` that the request asked for a run."""
        if isinstance(found, Ticket):
            self.settle("MISS", "fwd=request" if fresh else "fwd=miss")
        elif found.collapsed:
            self.settle("MISS", "fwd=miss", "collapsed")
        else:
            left = max(0, int(found.entry.expires_at - time.time()))
            self.settle("HIT", "hit", f"ttl={left}")

    def settle(self, outcome: Outcome, *status: str) -> None:
        """Say how the request was answered, in the words of Cache-Status."""
        if self.cache.store.fallback:
            # Who waited in vain for the server was answered without it, too.
            status = (*status, "detail=fallback")
        self.outcome = outcome
        self.status = status

    def unstored(self, policy: CachePolicy, reason: str = "") -> None:
        """Say that the answer of a run is not stored, and why if that is for good."""
        self.status = (*self.status, "detail=not-storable")
        if reason:
            policy.say(reason)

    def bypass(self, policy: CachePolicy, detail: str, reason: str) -> None:
        """Say that the answer is neither read from the cache nor stored, and why."""
        self.settle("BYPASS", "fwd=bypass", f"detail={detail}")
        policy.say(reason)


class RecordedState(MutableMapping[str, Any]):
    """A request's state, which tells what was read that others had put in."""

    def __init__(self, first: MutableMapping[str, Any]) -> None:
        self.first = first
        self.read: set[str] = set()
        self.writes = 0
        self.of_middleware = frozenset(first)
        self._given = set(first)

    def begin(self) -> None:
        """Take what dependencies have put in as given, too: the handler begins."""
        self._given = set(self.first)

    def __getitem__(self, name: str) -> Any:
        if name in self._given:
            self._look({name})
        return self.first[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._given.discard(name)
        self.writes += 1
        self.first[name] = value

    def __delitem__(self, name: str) -> None:
        self._given.discard(name)
        self.writes += 1
        del self.first[name]

    def __iter__(self) -> Iterator[str]:
        self._look(self._given)
        return iter(self.first)

    def __len__(self) -> int:
        return len(self.first)

    def __or__(self, other: dict[str, Any]) -> dict[str, Any]:
        return dict(self) | other

    def __ror__(self, other: dict[str, Any]) -> dict[str, Any]:
        return other | dict(self)

    def __ior__(self, other: Mapping[str, Any]) -> Self:
        self.update(other)
        return self

    def copy(self) -> dict[str, Any]:
        """Return all of it, as a dict does."""
        return dict(self)

    def _look(self, names: set[str]) -> None:
        if names - self.read:
            note_inner_read()
        self.read |= names


class _FirstName(bytes):
    """The name of a request's first header: who looks for any compares it first."""

    _seek: Callable[[str], None]

    def __new__(cls, name: bytes, seek: Callable[[str], None]) -> Self:
        it = super().__new__(cls, name)
        it._seek = seek
        return it

    def __eq__(self, other: object) -> bool:
        self._seek(other.decode("latin-1").lower() if type(other) is bytes else "*")
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        self._seek("*")
        return super().__hash__()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._seek("*")  # it is made a text of, as if all were read
        return super().__getattribute__(name)


def note_inner_read() -> None:
    """Take note that a value depends on what is read now: its key is made already."""
    reading = reading_now.get()
    if reading is not None and reading.root is not reading:
        reading.use(None)


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
            if self._exchange.run is not None or self._exchange.untagged:
                self._start = message
                return
            _describe(message, self._exchange)
        elif start is not None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                start, message = await self._complete(start, message)
            elif self._exchange.run is not None:
                ticket = self._exchange.run.ticket
                self._exchange.unstored(self._exchange.run.policy, ticket.why_not)
            await self._land(abandoned=False)
            _describe(start, self._exchange)
            await self._send(start)
        await self._send(message)

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
        ttl, shared = (run.ticket.ttl, run.shared) if run is not None else (0, False)
        lifetime = lifetime_of(own, ttl, shared=shared)
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
        exchange = self._exchange
        if not run.status:
            exchange.unstored(run.policy, "an exception's handler made its answer")
            return False
        if {name for name, _ in fresh} & {name for name, _ in kept}:
            why = "its handler and a dependency both set a header"
            exchange.unstored(run.policy, why)
            return False
        entry = run.ticket.entry(
            body, run.status, kept, ttl=lifetime.ttl, age=lifetime.age
        )
        if entry is None:
            exchange.unstored(run.policy, run.ticket.why_not)
            return False
        place = run.place(own)
        if place is None:
            return False
        if await run.ticket.store(place, entry):
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


current: ContextVar[Exchange | None] = ContextVar("cache_exchange", default=None)


def exchange_of(request: Request | None) -> Exchange | None:
    """Return the request's exchange, None where the application has no cache."""
    found = request.scope.get(SCOPE_KEY) if request is not None else None
    return found if isinstance(found, Exchange) else None


# Of the task that started an application, and of those that it began.
here: ContextVar[Cache | None] = ContextVar("cache_here", default=None)
running: list[Cache] = []
if hasattr(os, "register_at_fork"):  # a fork has none of the tasks that they need
    os.register_at_fork(after_in_child=running.clear)


def cache_of_task() -> Cache | None:
    """Return the one cache that is meant here, None where there is no telling."""
    exchange, own = current.get(), here.get()
    if exchange is not None and exchange.cache in running:
        return exchange.cache
    if own in running:
        return own
    return running[0] if len(running) == 1 else None


def caches_of_task() -> list[Cache]:
    """Return those that have to hear of a change here: where nothing tells, all."""
    own = cache_of_task()
    return list(running) if own is None else caches_with(own.prefix)


def caches_with(prefix: str) -> list[Cache]:
    """Return the running caches with this prefix: applications may share one."""
    return [cache for cache in running if cache.prefix == prefix]
