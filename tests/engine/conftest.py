"""The service on each storage, and services with routes of a test's own.

Every test that uses `app` (or what is built on it: `client`, `user`, …) runs once on
each store of this service.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from app.cache import setup
from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.engine.each import ALL, THOROUGH, opener
from tests.engine.shop import Shop, opened
from tests.service.forgotten import forgotten
from tests.service.migrations import migrations
from tests.service.patience import patience

__all__ = ["forgotten", "migrations", "patience"]

Serve = Callable[..., Awaitable[httpx.AsyncClient]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "on_one_storage: see tests/engine/each.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave each test of some modules one of its storages, by turns in the module."""
    if THOROUGH:
        return
    found = {item: on for item in items if (on := _on_a_storage(item)) is not None}
    storages = defaultdict[Any, list[str]](list)  # of each test
    for test, storage in found.values():
        storages[test].append(storage)
    turns = defaultdict[Path, Iterator[int]](count)
    kept = {
        (test, sorted(of)[next(turns[test[0]]) % len(of)])
        for test, of in storages.items()
    }
    items[:] = [each for each in items if each not in found or found[each] in kept]


def _on_a_storage(item: pytest.Item) -> tuple[Any, str] | None:
    """Return what a test has in common with that on another storage, and its own."""
    given = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    storage = given.pop("storage", "")
    if not storage or not item.get_closest_marker("on_one_storage"):
        return None
    return (item.path, item.nodeid.partition("[")[0], *map(id, given.values())), storage


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
