"""Which route answers: one function on two of them is not one answer.

Their response models may differ, and so what they show. Hence an entry and a flight
belong to a route, told by the template of its path and the schema of its response.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

from starlette.routing import BaseRoute
from starlette.types import Scope

from app.cache.policy import CachePolicy


class CachedRoute(NamedTuple):
    """A route of a cached function, as the application's start found it.

    `repeatable` tells whether a hit needs none of its dependencies.
    """

    route: BaseRoute
    template: str
    pattern: re.Pattern[str]
    fingerprint: str
    repeatable: bool


class CachedRoutes:
    """The cached routes of one application."""

    def __init__(self) -> None:
        self._found: dict[int, list[CachedRoute]] = {}

    def __iter__(self) -> Iterator[CachedRoute]:
        return chain.from_iterable(self._found.values())

    def add(self, found: CachedRoute) -> None:
        self._found.setdefault(id(found.route), []).append(found)

    def clear(self) -> None:
        self._found.clear()

    def at(self, scope: Scope) -> CachedRoute | None:
        """Return the one to which a request was routed, None when it is not known."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        for each in self._found.get(id(scope.get("route")), ()):
            # A router that is included twice has each of its routes only once.
            if each.pattern.match(path):
                return each
        return None


def route_of(scope: Scope) -> CachedRoute | None:
    """Return the cached route to which a request was routed.

    None for one that its application did not have when it started, or did not check,
    as one that is mounted in another.
    """
    known = getattr(scope["app"].state, "cache_routes", None)
    return known.at(scope) if isinstance(known, CachedRoutes) else None


def fingerprint_of(policy: CachePolicy, scope: Scope) -> str:
    """Return what tells a route's entries from those of others, and of other code."""
    found = route_of(scope)
    if found is not None:
        return found.fingerprint
    # Nothing tells how much of the path is the template, so all of it counts.
    field = getattr(scope.get("route"), "response_field", None)
    shown = "" if field is None else repr(field.field_info.annotation)
    return fingerprint(policy.fingerprint, "", scope["path"], shown)


def fingerprint(*parts: str) -> str:
    """Return a short name of what these parts are about, in any process."""
    text = "\n".join(parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
