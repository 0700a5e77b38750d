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
from starlette.types import Scope

from app.cache.engine.cache import Cache, Reading, reading_now
from app.cache.engine.entry import Pairs
from app.cache.engine.http import Fields, RawHeaders
from app.cache.engine.policy import CachePolicy
from app.cache.engine.ticket import Found, Ticket

SCOPE_KEY = "app.cache"
Outcome = Literal["HIT", "MISS", "BYPASS"]


@dataclass(slots=True)
class Serving:
    """A cached route whose handler is called through what stands above `@cached`.

    `variant` tells these parameters from others with the same key; `response` and
    `tasks` are what the dependencies and the handler set and add.
    """

    exchange: "Exchange"
    policy: CachePolicy
    request: Request
    response: Response
    tasks: BackgroundTasks | None
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

    `tag_weak` says that a middleware may encode the body after us.
    """

    def __init__(self, scope: Scope, cache: Cache, *, tag_weak: bool) -> None:
        self.cache = cache
        self.scope = scope
        self.headers = Fields(scope)
        self.tag_weak = tag_weak
        self.started = time.perf_counter()
        self.reading = Reading()
        self.state = RecordedState(scope.setdefault("state", {}))
        self.outcome: Outcome | None = None
        self.status: tuple[str, ...] = ()
        self.serving: Serving | None = None
        self.run: Run | None = None
        self.untagged = False  # FastAPI makes the response anew, from a cached value

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
    """A request's state, which tells what was read that middleware had put in."""

    def __init__(self, first: MutableMapping[str, Any]) -> None:
        self.first = first
        self.read: set[str] = set()
        self.writes = 0
        self._given = set(first)

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
        reading = reading_now.get()
        if reading is not None and reading.root is not reading and names - self.read:
            reading.use(None)  # a value is stored where its key said, before the run
        self.read |= names


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
