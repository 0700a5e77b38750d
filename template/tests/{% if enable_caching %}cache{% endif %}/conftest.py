"""The service on each storage, and services with routes of a test's own.

Every test that uses `app` (or what is built on it: `client`, `user`, …) runs once on
each storage of this service; `@on_any_storage` adds fastapi-cache2's own backends.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.cache import setup
from app.cache.storage import PlainStorage
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.cache.each import OWN, close_stock, opener

Serve = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture(params=OWN)
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the cache of applications that start later run on one of the storages."""
    name: str = request.param
    monkeypatch.setattr(setup, "open_backend", opener(name))
    monkeypatch.setattr(PlainStorage, "close", close_stock)
    return name


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    """Return the routes that `app` has besides its own; for tests to override."""
    return ()


@pytest.fixture
async def app(
    settings: Settings, storage: str, routers: Sequence[APIRouter]
) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    for router in routers:
        app.include_router(router)
    async with lifespan(app):
        yield app


@pytest.fixture
async def serve(settings: Settings, storage: str) -> AsyncIterator[Serve]:
    """Yield a function that starts a service with more routes, and returns a client.

    Not together with `app`: a process has one cache.
    """
    async with AsyncExitStack() as stack:

        async def serve(*routers: APIRouter) -> httpx.AsyncClient:
            app = create_app(settings)
            for router in routers:
                app.include_router(router)
            await stack.enter_async_context(lifespan(app))
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://service"
            )
            return await stack.enter_async_context(client)

        yield serve
