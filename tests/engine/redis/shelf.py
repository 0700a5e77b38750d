"""A service with one cached route whose data a test changes, on a Redis of its own."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import APIRouter

from app.cache import cached, invalidate_namespace
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.servers.valkey import Valkey

MISS = "fastapi; fwd=miss; stored"
LOCAL_MISS = "fastapi; fwd=miss; detail=fallback; stored"


class Shelf:
    """The data, and the service while it runs."""

    client: httpx.AsyncClient

    def __init__(self) -> None:
        self.books = 1
        self.router = APIRouter()

        @self.router.get("/books")
        @cached(namespace="books", expire=100)
        async def books() -> int:
            return self.books

    @asynccontextmanager
    async def served(
        self, database_url: str, redis: Valkey | str, **variables: str
    ) -> AsyncIterator[None]:
        url = redis if isinstance(redis, str) else redis.url
        # Ten times as patient as a service: this machine is busy with tests.
        own = {"CACHE_TIMEOUT": "1", "REDIS_URL": url, "DATABASE_URL": database_url}
        with settings_from(**own | variables) as settings:
            app = create_app(settings)
            app.include_router(self.router)
            async with (
                lifespan(app),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://service"
                ) as self.client,
            ):
                yield

    @asynccontextmanager
    async def in_redis(
        self, database_url: str, redis: Valkey | str, **variables: str
    ) -> AsyncIterator[None]:
        """The same, from when Redis is used: on a busy machine that may be later."""
        async with self.served(database_url, redis, **variables):
            await self.until("ok")
            yield

    async def read(self) -> tuple[int, str]:
        """Return the data and how it was answered, without the seconds."""
        response = await self.client.get("/books")
        assert response.status_code == 200
        status = response.headers["cache-status"]
        return response.json(), re.sub(r"hit; ttl=\d+", "hit", status)

    async def write(self) -> int:
        """Change the data, as a request does that is acknowledged after it."""
        self.books += 1
        await invalidate_namespace("books")
        return self.books

    async def health(self) -> dict[str, Any]:
        parts = (await self.client.get("/readyz")).json()["parts"]
        found: dict[str, Any] = parts["cache"]
        return found

    async def until(self, status: str) -> dict[str, Any]:
        """Wait for a status of the cache in /readyz, and return all of it."""
        async with asyncio.timeout(30):
            while (found := await self.health())["status"] != status:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return found
