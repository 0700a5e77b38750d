"""Answering a request again without its route: routing and dependencies are left out.

They cost several times what a hit does. So when a route has answered a request from
the cache, it is remembered what that took: the entry's key, and the versions of the
cached values that the dependencies used. While all of them are current, the same
request gets the same entry, and one lookup tells. An invalidation renews a version, so
the next request goes through the route again, and so does one after a time that
`valid_until` named.

This is done only where nothing else decides: each dependency of the route is declared
`repeatable`, none began a transaction, nothing stands between the route and `@cached`,
and the key builder is one of `app.cache`. An `AuthManager` decides on every request.
Two requests are the same if they have the same address, query, credentials and values
of the headers and cookies that any cached route declares.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.security import APIKeyHeader
from fastapi.security.base import SecurityBase
from starlette.responses import Response
from starlette.types import Scope

from app.cache.engine import Engine
from app.cache.exchange import Exchange, current
from app.cache.http import CREDENTIALS
from app.cache.keys import is_built_in
from app.cache.place import route_of
from app.cache.policy import CachePolicy
from app.cache.responses import replay, selects
from app.cache.ticket import Found

MOST = 10_000  # shortcuts that a process remembers
_MARK = "__cache_repeatable__"
# What asks for more than the stored answer, or for another one.
_ASKING = ("cache-control", "pragma", "range", "content-length", "transfer-encoding")
_FOUND_BY_ROUTING = ("endpoint", "path_params", "route")

D = TypeVar("D", bound=Callable[..., Any])


def repeatable(dependency: D) -> D:
    """Declare that a dependency need not run when the same request is a hit again.

    It has to depend on nothing but the request's address, query, credentials and those
    headers and cookies that a cached route declares, on values of `@cached` functions,
    and on the time as far as it calls `valid_until`; and nobody may miss what it does
    besides. A subclass of a repeatable class has to be declared itself.
    """
    setattr(dependency, _MARK, True)
    return dependency


def valid_until(moment: float) -> None:
    """Say until when what a repeatable dependency found is true, in Unix time."""
    exchange = current.get()
    if exchange is not None:
        exchange.until = min(exchange.until, moment)


def repeats(dependants: Iterable[Dependant]) -> bool:
    """Tell whether all of a route's dependencies are repeatable."""
    return all(_is_repeatable(each.call) for each in dependants)


def _is_repeatable(call: Any) -> bool:
    if isinstance(call, SecurityBase):  # reads the request, in a way that we know
        return type(call).__module__.startswith("fastapi.security.")
    return any(_MARK in getattr(it, "__dict__", ()) for it in (call, type(call)))


class Shortcut(NamedTuple):
    """What was remembered of a request; `until` is in Unix time."""

    fingerprint: str
    key: str
    sources: dict[str, str]
    until: float
    found: dict[str, Any]
    principal: Any


class Shortcuts:
    """The requests that an application may answer without their routes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._known: OrderedDict[bytes, Shortcut] = OrderedDict()
        self._names = {"host", *CREDENTIALS}

    def __len__(self) -> int:
        return len(self._known)

    def consider(self, policy: CachePolicy, dependants: Iterable[Dependant]) -> None:
        """Count what a cached route and its dependencies declare as the request's."""
        self._names |= {name.lower() for name in policy.headers}
        self._names |= {
            each.call.model.name.lower()
            for each in dependants
            if isinstance(each.call, APIKeyHeader)
        }

    async def answer(
        self, engine: Engine, exchange: Exchange, scope: Scope
    ) -> Response | None:
        """Return the answer to a request that was answered before, if it is current."""
        headers = exchange.headers
        if (
            scope["method"] != "GET"
            or any(name in headers for name in _ASKING)
            or not all(map(_is_repeatable, self._app.dependency_overrides.values()))
            or "principal" in scope.get("state", ())
        ):
            return None
        signature = exchange.signature = self._signature(exchange, scope)
        known = self._known.get(signature)
        if known is None:
            return None
        entry = None
        if time.time() < known.until:
            entry = await engine.recall(known.key, known.fingerprint, known.sources)
        if entry is None:
            self._known.pop(signature, None)
            return None
        if not selects(headers, entry):
            return None
        if signature in self._known:
            self._known.move_to_end(signature)
        scope.update(known.found)
        if known.principal is not None:
            scope.setdefault("state", {})["principal"] = known.principal
        return replay(engine, exchange, Found(entry, collapsed=False))

    def remember(self, exchange: Exchange, scope: Scope) -> None:
        """Remember how a request was answered, if that is all that it takes."""
        hit, signature = exchange.hit, exchange.signature
        if hit is None or signature is None or scope["app"] is not self._app:
            return
        route = route_of(scope)
        if (
            route is None
            or not route.repeatable
            or scope.get("endpoint") is not hit[0].wrapper
            or not is_built_in(hit[0].key_builder)
            or exchange.transactions
        ):
            return
        found = {name: scope[name] for name in _FOUND_BY_ROUTING if name in scope}
        principal = scope.get("state", {}).get("principal")
        self._known[signature] = Shortcut(
            route.fingerprint,
            hit[1],
            exchange.sources,
            exchange.until,
            found,
            principal,
        )
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def _signature(self, exchange: Exchange, scope: Scope) -> bytes:
        """Return a digest of all that tells this request from others."""
        lines = exchange.headers.lines
        parts = [lines.get(name) for name in self._names]
        where = (scope.get("scheme"), scope.get("root_path"), scope["path"])
        text = repr((where, scope["query_string"], parts))
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
