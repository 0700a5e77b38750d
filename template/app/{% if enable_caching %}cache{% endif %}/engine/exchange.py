"""What the cache knows of one request, what of that an answer may depend on, and which
cache is meant.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Self

from starlette.background import BackgroundTasks
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from app.cache.engine.cache import Cache, Found, Reading, reading_now
from app.cache.engine.entry import (
    CREDENTIALS,
    Fields,
    Pairs,
    RawHeaders,
    Tags,
    rarely_counts,
)
from app.cache.engine.policy import CachePolicy, Unstable, digest, outline, stable
from app.cache.engine.ticket import Ticket

SCOPE_KEY = "app.cache"
Outcome = Literal["HIT", "MISS", "BYPASS"]
# What of a scope is told apart elsewhere, or says nothing of who asks for what.
_OF_EVERY_SCOPE = {
    *("type", "asgi", "http_version", "method", "scheme", "path", "root_path"),
    *("query_string", "headers", "client", "server", "state", SCOPE_KEY),
    *("app", "app_root_path", "router", "route", "endpoint", "path_params"),
    *("fastapi", "fastapi.telemetry", "fastapi_middleware_astack"),
    *("fastapi_inner_astack", "fastapi_function_astack"),
    "fastapi_async_cleanup_scopes",
}


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

    def bypass_unkeyed(self, policy: CachePolicy, error: Exception) -> None:
        """Say that, where nothing told the request from others."""
        why = str(error)
        if isinstance(error, Unstable):
            why = f"its answer may depend on {why}, which cannot be part of a key"
        self.bypass(policy, "unshareable", why)

    async def refuse_to_run(self, ticket: Ticket) -> Response:
        """Return the answer to a client that wants no run (RFC 9111 5.2.1.7)."""
        await ticket.land(None, abandoned=True)
        self.settle("MISS", "detail=only-if-cached")
        return Response(status_code=504)


class RecordedState(MutableMapping[str, Any]):
    """A request's state, which tells what was read that others had put in."""

    def __init__(self, first: MutableMapping[str, Any]) -> None:
        self.first = first
        self.read: set[str] = set()
        self.writes = 0
        self.of_middleware = frozenset(first)
        self._own = set[str]()

    def begin(self) -> None:
        """Take what dependencies have put in as given, too: the handler begins."""
        self._own = set()

    def __getitem__(self, name: str) -> Any:
        self._look({name} - self._own)  # that there is none may tell something, too
        return self.first[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._own.add(name)
        self.writes += 1
        self.first[name] = value

    def __delitem__(self, name: str) -> None:
        self._own.add(name)
        self.writes += 1
        del self.first[name]

    def __iter__(self) -> Iterator[str]:
        self._look({"*"})
        return iter(self.first)

    def __len__(self) -> int:
        self._look({"*"})
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

    def __repr__(self) -> str:
        self._seek("*")  # a list's text has that of its parts
        return super().__repr__()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._seek("*")  # it is made a text of, as if all were read
        return super().__getattribute__(name)


def note_inner_read() -> None:
    """Take note that a value depends on what is read now: its key is made already."""
    reading = reading_now.get()
    if reading is not None and reading.root is not reading:
        reading.use(None)


current: ContextVar[Exchange | None] = ContextVar("cache_exchange", default=None)


def exchange_of(request: Request | None) -> Exchange | None:
    """Return the request's exchange, None where the application has no cache."""
    found = request.scope.get(SCOPE_KEY) if request is not None else None
    return found if isinstance(found, Exchange) else None


def identity_of(request: Request | None) -> str:
    """Return who asks, as a segment of a key.

    The principal that the route's dependencies resolved; where they resolved none but
    the request carries credentials, a keyed digest of those; else "public".
    """
    exchange = exchange_of(request)
    if request is None or exchange is None:
        return "public"
    state: Any = request.scope.get("state", {})
    principal = getattr(state, "first", state).get("principal")  # it is no read
    secret = exchange.cache.secret
    # One of the owner's own kind is a state like any other.
    if hasattr(principal, "user_id") and hasattr(principal, "scopes"):
        scopes = digest(sorted(principal.scopes), secret)
        return f"user-{principal.user_id}-{scopes}"
    shown = [exchange.headers.getlist(name) for name in CREDENTIALS]
    return f"credentials-{digest(shown, secret)}" if any(shown) else "public"


def raw_request(
    request: Request, exchange: Exchange, *, headers_too: bool = True
) -> list[Any]:
    """Return all of a request that a handler can look at and that may matter.

    Raises Unstable when a middleware put into the scope what cannot be told apart.
    """
    scope = request.scope
    never = exchange.never_count
    headers = {
        name: lines
        for name, lines in exchange.headers.lines.items()
        if headers_too and name not in never and not rarely_counts(name)
    }
    client = scope.get("client") or [""]
    address = [scope.get("scheme"), scope["path"], client[0], scope.get("http_version")]
    if "host" not in exchange.headers:
        address.append(str(scope.get("server")))
    more_of_scope = {n: _plain(f'scope["{n}"]', scope[n]) for n in by_middleware(scope)}
    return [headers, address, scope["query_string"].decode("latin-1"), more_of_scope]


def by_middleware(scope: Scope) -> list[str]:
    """Return what of a scope a middleware has put there."""
    return [
        name
        for name in sorted(scope.keys() - _OF_EVERY_SCOPE)
        if not name.startswith("starlette.")
    ]


def put_by_run(scope: Scope, exchange: Exchange) -> list[Any]:
    """Return what differs after a run that has changed a session, or the state.

    Or has added a task for afterwards, which may be by what a dependency made, or has
    asked for the request's body.
    """
    tasks = len(exchange.tasks.tasks)
    found: list[Any] = [exchange.state.writes, tasks, exchange.received]
    for name in by_middleware(scope):
        try:
            found.append([name, _plain(name, scope[name])])
        except Unstable:
            found.append(name)
    return found


def looked_at(exchange: Exchange) -> set[str]:
    """Return the names of what was looked at and is not in each key; "*": all headers.

    A state is called "state.name"; "state.*" is all of it.
    """
    return exchange.sought | {f"state.{name}" for name in exchange.state.read}


def read_by_name(names: Collection[str], exchange: Exchange) -> dict[str, Any]:
    """Return headers and states by the names that `looked_at` gives them.

    Raises Unstable for a state that cannot be told apart.
    """
    found: dict[str, Any] = {}
    for name in sorted(names):
        if name.startswith("state."):
            found[name] = _state(name.removeprefix("state."), exchange)
        elif name == "*":
            lines = exchange.headers.lines
            found[name] = {n: lines[n] for n in lines.keys() - exchange.never_count}
        else:
            found[name] = exchange.headers.getlist(name)
    return found


def _state(name: str, exchange: Exchange) -> Any:
    state = exchange.state
    if name == "*":
        return {each: _state(each, exchange) for each in sorted(state.first)}
    if name not in state.first:
        return None
    value = state.first[name]
    try:
        return _plain(f"state.{name}", value)
    except Unstable:
        if name in state.of_middleware:
            raise
    return outline(value)  # what a dependency made is a tool, or derived


def _plain(name: str, value: Any) -> Any:
    """Return what an object holds that a middleware put into the scope or the state."""
    with suppress(Unstable):
        return stable(value)
    with suppress(Unstable):
        if hasattr(value, "__dict__") and not callable(value):
            return [type(value).__qualname__, stable(object.__getstate__(value))]
    raise Unstable(name)


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
    # Applications may share a prefix.
    return [each for each in running if own is None or each.prefix == own.prefix]
