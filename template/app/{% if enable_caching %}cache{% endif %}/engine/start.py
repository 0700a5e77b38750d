"""What the start of an application looks at: its cached routes, mounted ones too."""

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple

import fastapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Host, Mount, Route

from app.cache.engine.entry import ConfigurationError, Tags, may_overlap
from app.cache.engine.middleware import Head
from app.cache.engine.policy import (
    CachePolicy,
    built_in,
    cache_policy,
    decorated,
    policies,
    streaming,
)
from app.cache.engine.providers import is_authenticator, nodes_of
from app.cache.engine.route import CachedRoute, is_served
from app.cache.engine.rules import rules

log = logging.getLogger("app.cache")

# Starlette's middleware that leaves bodies alone, by modules: some need more packages.
_KEEP_BODIES = {
    f"starlette.middleware.{module}"
    for module in (
        *("authentication", "body_limit", "cors", "errors", "exceptions"),
        *("httpsredirect", "opentelemetry", "sessions", "trustedhost"),
    )
}
_ENCODES = "starlette.middleware.gzip"


class Routes(NamedTuple):
    """What was found: the cached routes, who answers HEAD, and what tags are good for.

    The routes are in their order.
    """

    cached: list[CachedRoute]
    heads: list[Head]
    tags: Tags


def look_at(app: object, keeps_bodies: Collection[object]) -> Routes:
    """Return the cached routes of an application and of those mounted in it.

    `keeps_bodies` are middleware classes of the service that leave bodies alone. Raises
    ConfigurationError for a route that could not be cached right.
    """
    cached, heads, changing = [], [], list[Any]()
    seen: set[int] = set()  # an application may be mounted more than once
    for context, mounts, owner, by_host in _walk(app, (), by_host=False):
        if context is None:
            changing += _changing(owner, keeps_bodies)
            continue
        api = isinstance(context.original_route, APIRoute)
        policy = _policy_of(context) if api else None
        methods = context.methods or set()
        if policy is not None and id(context.dependant) not in seen:
            seen.add(id(context.dependant))
            try:
                cached.append(_checked(policy, context, by_host=by_host))
            except AttributeError as error:
                policy.say(f"FastAPI {fastapi.__version__} is not known to it: {error}")
        if methods & {"GET", "HEAD"}:
            own = "HEAD" in methods
            heads.append(Head(mounts, context.path_regex, policy is not None, own))
    rewriting = [each for each in changing if each.__module__ != _ENCODES]
    if rewriting and cached:
        log.warning(
            "Answers have no ETag, and no 304: %s may change their bodies. If it never "
            "does, name it in KEEP_BODIES of app/middleware/__init__.py.",
            _name(rewriting[0]),
        )
    tags: Tags = "none" if rewriting else "weak" if changing else "strong"
    return Routes(cached, heads, tags)


def check_rules() -> None:
    """Raise ConfigurationError for a rule whose namespace nothing cached can have."""
    known = {policy.namespace for policy in policies}
    if not known or "" in known:
        return  # nothing is cached, or a key builder may write anything
    for model, of_model in rules.items():
        for rule in of_model:
            if any(may_overlap(rule.template, namespace) for namespace in known):
                continue
            (nearest,) = get_close_matches(rule.template, known, 1, cutoff=0.0)
            raise ConfigurationError(
                f"touches({model.__name__}, {rule.template!r}) drops nothing: no "
                f"@cached has such a namespace. The nearest is {nearest!r}."
            )


def _walk(
    app: object, mounts: tuple[re.Pattern[str], ...], *, by_host: bool
) -> Iterator[tuple[RouteContext | None, tuple[re.Pattern[str], ...], object, bool]]:
    """Yield each application, or mount, with None; then its routes, and those below it.

    Last comes whether a host's name leads to it.
    """
    yield None, mounts, app, by_host
    routes: Iterable[BaseRoute] = getattr(app, "routes", ())
    for context in iter_route_contexts(list(routes)):
        route = context.original_route
        if isinstance(route, Route):
            yield context, mounts, None, by_host
        elif isinstance(route, Mount):
            yield None, mounts, route, by_host
            below = (*mounts, context.path_regex)
            yield from _walk(_base(route), below, by_host=by_host)
        elif isinstance(route, Host):
            yield from _walk(route.app, mounts, by_host=True)


def _changing(owner: object, keeps_bodies: Collection[object]) -> Iterator[Any]:
    """Yield the middleware of an application, or a mount, that may change bodies."""
    found = [
        each.kwargs.get("dispatch", each.cls)  # by @app.middleware("http")
        for each in getattr(owner, "user_middleware", ())
    ]
    wrapped: Any = owner.app if isinstance(owner, Mount) else None
    while isinstance(owner, Mount) and wrapped is not _base(owner):
        found.append(type(wrapped))
        wrapped = getattr(wrapped, "app", _base(owner))
    for each in found:
        if each not in keeps_bodies and each.__module__ not in _KEEP_BODIES:
            yield each


def _base(mount: Mount) -> object:
    """Return what is mounted, without the mount's middleware."""
    return getattr(mount, "_base_app", mount.app)


def _policy_of(route: RouteContext) -> CachePolicy | None:
    """Return how a route is cached. Raises ConfigurationError if that does nothing."""
    endpoint = getattr(route.endpoint, "func", route.endpoint)  # of a partial
    if endpoint in decorated:
        raise ConfigurationError(
            f"@cached on {_name(endpoint)} does nothing: it has to stand below the "
            "route's decorator."
        )
    policy = cache_policy(endpoint)
    if getattr(endpoint, "__func__", endpoint) in streaming:
        log.warning("%s is not cached: it streams by yield", _name(endpoint))
    return None if policy is None or is_served(route) else policy


def _name(function: object) -> str:
    return (
        f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    )


def _checked(policy: CachePolicy, route: RouteContext, *, by_host: bool) -> CachedRoute:
    """Return a route that can be cached. Raises ConfigurationError for another."""
    methods = sorted(route.methods or ())
    if not {"GET", "HEAD"}.intersection(methods):
        raise ConfigurationError(
            f"@cached on {policy.name} does nothing: {'/'.join(methods)} {route.path} "
            "is never cached. Remove it."
        )
    kind = built_in.get(policy.key_builder)
    asked = any(is_authenticator(node.call) for node in nodes_of(route.dependant))
    if kind == "user" and policy.key_builder_name.startswith("user_") and not asked:
        raise ConfigurationError(
            f"{policy.name} is cached for each user, but {route.path} asks nobody who "
            "they are: add `user: User = Depends(AuthManager())`."
        )
    cached = CachedRoute(policy, route, by_host=by_host)
    if kind == "everybody" and cached.sight.principal:
        raise ConfigurationError(
            f"{policy.name} is given who asks, but {policy.key_builder_name} has all "
            f"users share what {route.path} answers: leave its key_builder out, or use "
            "user_scoped_key_builder; where it is only a check, move it into the "
            "decorator's `dependencies`."
        )
    return cached
