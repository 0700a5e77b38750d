"""fastapi-redis-sdk: responses by dependency, invalidated by group."""

from typing import Any

from fastapi import Depends, FastAPI, Request
from redis_fastapi import CacheBackend, FastAPIRedis, cache
from redis_fastapi.deps import get_async_redis

from benchmarks.apps import work


class RedisSDK(work.Cache):
    def install(self, app: FastAPI) -> None:
        FastAPIRedis(app).lifespan().caching()

    def dependencies(self, group: str) -> list[Any]:
        return [Depends(cache(ttl=work.TTL, eviction_group=group))]

    async def invalidate(self, request: Request, group: str) -> None:
        await CacheBackend(await get_async_redis(request)).delete_group(group)


def create_app() -> FastAPI:
    return work.create_app(RedisSDK())
