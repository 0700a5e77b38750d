"""How the application gets its cache, and what is checked before it starts."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi_cache import FastAPICache
from pydantic import PydanticSchemaGenerationError, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from app.cache import engine
from app.cache.backends import check_processes, open_backend
from app.cache.keys import user_scoped_key_builder
from app.cache.middleware import CacheMiddleware
from app.cache.place import CachedRoute, CachedRoutes, fingerprint
from app.cache.policy import cache_policy, decorated
from app.cache.shortcut import Shortcuts, repeats
from app.cache.storage import StorageError, storage_over
from app.config import Settings
from app.errors import StartupError


def install_cache(app: FastAPI, settings: Settings) -> None:
    """Mount the cache's middleware; nothing when CACHE_ENABLED is false."""
    if settings.cache_enabled:
        app.state.cache_head_paths = []
        app.state.cache_routes = CachedRoutes()
        app.state.cache_shortcuts = Shortcuts(app)
        app.add_middleware(
            CacheMiddleware,
            head_paths=app.state.cache_head_paths,
            shortcuts=app.state.cache_shortcuts,
        )


@asynccontextmanager
async def cache_lifespan(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Open the cache while the application runs.

    Raises StartupError for a cached route that could not work.
    """
    if not settings.cache_enabled:
        yield
        return
    check_workers(settings.workers, settings)
    app.state.cache_head_paths[:] = _check_routes(app)
    backend = await open_backend(settings)
    FastAPICache.reset()
    FastAPICache.init(
        backend, prefix=settings.cache_prefix, expire=settings.cache_default_ttl
    )
    storage = storage_over(FastAPICache.get_backend())
    cache = engine.Engine.over(storage, settings)
    engine.start(cache)
    try:
        yield
    finally:
        engine.start(None)
        await cache.journal.close()
        FastAPICache.reset()
        await storage.close()


def check_workers(workers: int, settings: Settings) -> None:
    """Raise StartupError when the backend cannot serve that many processes."""
    check_processes(workers, settings)


async def cache_health(timeout: float) -> dict[str, Any] | None:  # noqa: ASYNC109 - CACHE_TIMEOUT is shorter
    """Return the cache's part of /readyz; None when caching is off.

    A cache that does not answer makes the service slower, not unready: "degraded".
    """
    running = engine.running()
    if running is None:
        return None
    start = time.perf_counter()
    try:
        await running.storage.ping()
    except StorageError:
        found: dict[str, Any] = {"status": "degraded", "latency_ms": None}
    else:
        elapsed = (time.perf_counter() - start) * 1000
        found = {"status": "ok", "latency_ms": round(elapsed, 2)}
    return {**found, "detail": running.storage.health() or None}


def _check_routes(app: FastAPI) -> list[re.Pattern[str]]:
    """Check every cached route; return the paths at which they answer HEAD too."""
    paths = []
    app.state.cache_routes.clear()
    for route in iter_route_contexts(app.routes):
        endpoint = route.endpoint
        if endpoint is None or not isinstance(route.original_route, APIRoute):
            continue
        if endpoint in decorated:
            raise StartupError(
                f"@cached on {endpoint.__module__}.{endpoint.__qualname__} does "
                "nothing: it has to stand below the route's decorator."
            )
        policy = cache_policy(endpoint)
        if policy is None:
            continue
        name = f"{policy.function.__module__}.{policy.function.__qualname__}"
        methods = route.methods or set()
        if not methods & {"GET", "HEAD"}:
            raise StartupError(
                f"@cached on {name} does nothing: {'/'.join(sorted(methods))} "
                f"{route.path} is never cached. Remove it."
            )
        if policy.key_builder is user_scoped_key_builder and not _authenticates(
            route.dependant
        ):
            raise StartupError(
                f"{name} is cached for each user, but {route.path} asks nobody who he "
                "is: add `user: User = Depends(AuthManager())`."
            )
        needed = list(_all(route.dependant))
        policy.headers |= {p.alias for d in needed for p in d.header_params}
        policy.cookies |= {p.alias for d in needed for p in d.cookie_params}
        app.state.cache_shortcuts.consider(policy, needed)
        template = route.path_format or ""
        app.state.cache_routes.add(
            CachedRoute(
                route.original_route,
                template,
                route.path_regex,
                fingerprint(policy.fingerprint, template, _schema(route)),
                repeatable=type(route.original_route) is APIRoute
                # A decorator above @cached has copied the policy, and acts each time.
                and policy.wrapper is endpoint is needed[0].call
                and repeats(needed[1:]),
            )
        )
        if "HEAD" not in methods:
            paths.append(route.path_regex)
    return paths


def _authenticates(dependant: Dependant) -> bool:
    from app.managers.auth import AuthManager  # it needs the cache itself

    return any(isinstance(d.call, AuthManager) for d in _all(dependant))


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for child in dependant.dependencies:
        yield from _all(child)


def _schema(route: RouteContext) -> str:
    field = route.response_field
    if field is None:
        return ""
    try:
        schema = TypeAdapter(field.field_info.annotation).json_schema(
            mode="serialization"
        )
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema):
        return repr(field.field_info.annotation)
    return repr(schema)
