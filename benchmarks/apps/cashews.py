"""cashews: values by decorator, invalidated by tag."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from cashews import cache
from fastapi import FastAPI, Request

from benchmarks.apps import work


class Cashews(work.Cache):
    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        if work.BACKEND == "redis":
            cache.setup(work.REDIS_URL)
        else:
            cache.setup("mem://", size=2_000_000)
        await cache.init()
        yield
        await cache.close()

    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        def decorate(handler: Callable[..., Any]) -> Any:
            fields = (f"{{{name}}}" for name in parameters)
            key = ":".join((group, handler.__name__, *fields))
            return cache(ttl=work.TTL, key=key, tags=[group])(handler)

        return decorate

    async def invalidate(self, request: Request, group: str) -> None:
        await cache.delete_tags(group)

    async def fill(self, numbers: range) -> None:
        for number in numbers:
            await cache.set(f"unrelated:{number}", f"{number:0100d}", expire=work.TTL)


def create_app() -> FastAPI:
    return work.create_app(Cashews())
