"""The rendered service's cache, run in the rendered project."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from app.cache import (
    cache_lifespan,
    cached,
    install_cache,
    provider,
    touches,
    watch_commits,
)
from app.cache.engine.cache import Reading, TablesRead
from app.cache.engine.entry import Entry
from app.cache.engine.exchange import running
from app.config import get_settings
from benchmarks.apps import work

AT_ONCE = 100  # entries that are stored together


class Ours(work.Cache):
    def install(self, app: FastAPI) -> None:
        install_cache(app, get_settings())

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        workers = int(os.environ.get("BENCH_WORKERS", "1"))
        settings = get_settings().model_copy(update={"workers": workers})
        async with cache_lifespan(app, settings):
            yield

    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        return cached(expire=work.TTL, namespace=group)

    async def fill(self, numbers: range) -> None:
        cache = running[-1]
        headers = (("content-type", "application/json"), ("etag", '"0123456789"'))

        async def store(number: int) -> None:
            key = f"unrelated:{number // 1000}:{number}"
            read = TablesRead()
            read.learn(())
            place = cache.place(key, "0" * 24)
            lookup = await cache.lookup(key, place, Reading(), read, work.TTL)
            assert lookup.versions is not None
            now = time.time()
            entry = Entry(
                versions=lookup.versions,
                stored_at=now,
                expires_at=now + work.TTL,
                age=0,
                status=200,
                headers=headers,
                body=b"x" * 100,
            )
            await cache.keep(lookup.place, entry)

        for first in range(numbers.start, numbers.stop, AT_ONCE):
            last = min(first + AT_ONCE, numbers.stop)
            await asyncio.gather(*map(store, range(first, last)))


def create_app() -> FastAPI:
    watch_commits(work.engine, work.Base.metadata, get_settings())
    provider(work.get_session)  # as a rendered service's own is
    touches(work.User, "users")
    touches(work.Key, "users")
    return work.create_app(Ours())
