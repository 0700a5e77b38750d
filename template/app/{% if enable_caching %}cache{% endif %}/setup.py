"""How an application gets its cache, for as long as it runs."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from app.cache.backend import check_processes, open_once, open_store
from app.cache.engine import commits
from app.cache.engine.cache import Cache
from app.cache.engine.entry import ROOT, ConfigurationError, version_place
from app.cache.engine.exchange import here, running
from app.cache.engine.face import show_face
from app.cache.engine.fence import caches_of
from app.cache.engine.middleware import CacheMiddleware, Served
from app.cache.engine.start import check_rules, look_at
from app.config import Settings
from app.errors import StartupError
from app.metrics import MIDDLEWARE
from app.metrics.cache import count_outside
from app.middleware import KEEP_BODIES


def install_cache(app: FastAPI, settings: Settings) -> None:
    """Mount the cache's middleware; nothing when CACHE_ENABLED is false."""
    if settings.cache_enabled:
        app.state.response_cache = Served()
        app.add_middleware(CacheMiddleware, served=app.state.response_cache)


@asynccontextmanager
async def cache_lifespan(
    app: FastAPI, settings: Settings, revision: str = ""
) -> AsyncIterator[None]:
    """Open the cache while the application runs.

    What was stored while the database was at another `revision` is no longer read.
    Raises StartupError for a cached route that could not work.
    """
    if not settings.cache_enabled:
        yield
        return
    check_workers(settings.workers, settings)
    served: Served = app.state.response_cache
    try:
        routes = look_at(app, {CacheMiddleware, *KEEP_BODIES, *MIDDLEWARE})
        check_rules()
        store = await open_store(settings)
        cache = Cache(store, settings, revision, again=partial(open_once, settings))
    except ConfigurationError as error:
        raise StartupError(str(error)) from None
    token = here.set(cache)
    running.append(cache)
    for route in routes.cached:
        route.begin()
    served.heads, served.tags, served.cache = routes.heads, routes.tags, cache
    show_face(settings.cache_prefix)
    try:
        yield
    finally:
        served.cache = None
        for route in routes.cached:
            route.end()
        running.remove(cache)
        here.reset(token)
        await cache.store.close()


def watch_commits(
    engine: AsyncEngine, metadata: MetaData, settings: Settings, by: str = "command"
) -> None:
    """Invalidate what the transactions of an engine change, when they commit.

    And tell what a cached function reads by it. `metadata` has the models' tables. Do
    this for each engine of your own on the service's database.
    """
    if settings.cache_enabled:
        commits.watch(engine, metadata, settings, lambda: opened_caches(settings, by))


@asynccontextmanager
async def opened_caches(
    settings: Settings, by: str = "command"
) -> AsyncIterator[list[Cache]]:
    """Yield the running caches of these settings or this database.

    None when caching is off. Where none runs, as in a command or a script, one is
    opened for this use; `by` is what it does then, for the metrics of a service.
    """
    found = caches_of(settings)
    if found or not settings.cache_enabled:
        yield found
        return
    try:
        store = await open_once(settings)
    except ConfigurationError as error:
        raise StartupError(str(error)) from None
    cache = Cache(store, settings)
    cache.on_invalidation.append(lambda *_: count_outside(by))
    try:
        yield [cache]
    finally:
        await store.close()


def check_workers(workers: int, settings: Settings) -> None:
    """Raise StartupError when the backend cannot serve that many processes."""
    if settings.cache_enabled:
        check_processes(workers, settings)


async def cache_health(app: FastAPI) -> dict[str, Any] | None:
    """Return the cache's part of /readyz; None when caching is off.

    A cache that does not answer makes the service slower, not unready: "degraded".
    """
    cache: Cache | None = getattr(
        getattr(app.state, "response_cache", None), "cache", None
    )
    if cache is None:
        return None
    start = time.perf_counter()
    await cache.store.get_many([version_place(cache.prefix, ROOT)])
    elapsed = round((time.perf_counter() - start) * 1000, 2)
    away = cache.store.fallback
    return {
        "status": "degraded" if away else "ok",
        "latency_ms": None if away else elapsed,
        "detail": cache.store.health() or None,
    }
