"""The service on each storage, and services with routes of a test's own.

Every test that uses `app` (or what is built on it: `client`, `user`, …) runs once on
each store of this service.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.cache import setup
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.engine.each import ALL, opener
from tests.engine.shop import Shop, opened
from tests.service.migrations import migrations

__all__ = ["migrations"]

Serve = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture(params=ALL)
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the cache of applications that start later run on one of the storages."""
    name: str = request.param
    monkeypatch.setattr(setup, "open_store", opener(name))
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
async def shop(app: FastAPI, settings: Settings) -> AsyncIterator[Shop]:
    async with opened(settings) as shop:
        yield shop


@pytest.fixture
async def serve(settings: Settings, storage: str) -> AsyncIterator[Serve]:
    """Yield a function that starts a service with more routes, and returns a client."""
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
