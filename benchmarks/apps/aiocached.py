"""aiocache: values by decorator, invalidated by namespace."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiocache import Cache, cached
from aiocache.serializers import PickleSerializer
from fastapi import FastAPI, Request

from benchmarks.apps import work


class AIOCache(work.Cache):
    def __init__(self) -> None:
        self._options: dict[str, Any] = {"cache": Cache.MEMORY}
        if work.BACKEND == "redis":
            place = urlsplit(work.REDIS_URL)
            self._options = {
                "cache": Cache.REDIS,
                "endpoint": place.hostname,
                "port": place.port,
                "serializer": PickleSerializer(),
            }
        self._caches: dict[str, list[Any]] = {}

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        yield
        for caches in self._caches.values():
            for each in caches:
                await each.close()

    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        def decorate(handler: Callable[..., Any]) -> Any:
            name = work.key_of(handler, group, *parameters)
            decorator = cached(
                ttl=work.TTL,
                namespace=group,
                key_builder=lambda _, **given: name(given),
                **self._options,
            )
            wrapper = decorator(handler)
            self._caches.setdefault(group, []).append(wrapper.cache)
            return wrapper

        return decorate

    async def invalidate(self, request: Request, group: str) -> None:
        for each in self._caches[group]:  # every decorated function has its own
            await each.clear(namespace=group)

    async def fill(self, numbers: range) -> None:
        store = self._caches["users"][0]
        for number in numbers:
            value = f"{number:0100d}"
            await store.set(f"{number}", value, ttl=work.TTL, namespace="unrelated")


def create_app() -> FastAPI:
    return work.create_app(AIOCache())
