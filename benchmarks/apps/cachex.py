"""FastAPI-CacheX: responses by decorator, invalidated by pattern."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi_cachex import BackendProxy, cache
from fastapi_cachex.backends import AsyncRedisCacheBackend, MemoryBackend
from fastapi_cachex.backends.base import CacheEntry

from benchmarks.apps import work


class CacheX(work.Cache):
    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        backend: Any = MemoryBackend()
        if work.BACKEND == "redis":
            place = urlsplit(work.REDIS_URL)
            backend = AsyncRedisCacheBackend(
                host=place.hostname or "", port=place.port or 0
            )
        BackendProxy.set(backend)
        yield
        await backend.aclose()

    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        return cache(ttl=work.TTL)

    async def invalidate(self, request: Request, group: str) -> None:
        await BackendProxy.get().clear_pattern(f"*/{group}*")

    async def fill(self, numbers: range) -> None:
        backend = BackendProxy.get()
        for number in numbers:
            entry = CacheEntry(fingerprint='"0123456789"', content=b"%0100d" % number)
            await backend.set(f"GET|||host|||/unrelated/{number}|||", entry, work.TTL)


def create_app() -> FastAPI:
    return work.create_app(CacheX())
