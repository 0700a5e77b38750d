"""fastapi-cache2, with the coder that BENCH_CODER names."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import fastapi_cache.coder
from fastapi import FastAPI, Request
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache

from benchmarks.apps import work

CODER = getattr(fastapi_cache.coder, os.environ["BENCH_CODER"])


class FastAPICache2(work.Cache):
    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        backend: Any = InMemoryBackend()
        if work.BACKEND == "redis":
            from fastapi_cache.backends.redis import RedisBackend
            from redis.asyncio import from_url

            backend = RedisBackend(from_url(work.REDIS_URL))
        FastAPICache.init(backend, prefix="bench", coder=CODER)
        yield

    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        def decorate(handler: Callable[..., Any]) -> Any:
            name = work.key_of(handler, group, *parameters)

            def key(_: Any, namespace: str = "", *, kwargs: Any, **__: Any) -> str:
                # Its default is the text of all arguments, the session's address too.
                return f"bench:{name(kwargs)}"

            decorator = cache(expire=work.TTL, namespace=group, key_builder=key)
            return decorator(handler)

        return decorate

    async def invalidate(self, request: Request, group: str) -> None:
        await FastAPICache.clear(namespace=group)

    async def fill(self, numbers: range) -> None:
        backend, value = FastAPICache.get_backend(), CODER.encode("x" * 100)
        for number in numbers:
            await backend.set(f"bench:unrelated:{number}", value[:], work.TTL)


def create_app() -> FastAPI:
    return work.create_app(FastAPICache2())
