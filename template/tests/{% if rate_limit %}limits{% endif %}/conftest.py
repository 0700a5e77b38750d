"""A service that counts, and clients at addresses of their own."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from tests.environment import settings_from

From = Callable[[str], httpx.AsyncClient]


@pytest.fixture
def settings(database_url: str) -> Iterator[Settings]:
    """Yield the settings of a service whose limits are on."""
    on = {"RATE_LIMIT_ENABLED": "true", "DATABASE_URL": database_url}
    with settings_from(**on) as settings:
        yield settings


@pytest.fixture
async def at(app: FastAPI) -> AsyncIterator[From]:
    """Yield a function that returns a client at an address."""
    async with AsyncExitStack() as stack:
        clients: dict[str, httpx.AsyncClient] = {}

        def at(address: str) -> httpx.AsyncClient:
            if address not in clients:
                transport = httpx.ASGITransport(app, client=(address, 1))
                clients[address] = httpx.AsyncClient(
                    transport=transport, base_url="http://service"
                )
                stack.push_async_callback(clients[address].aclose)
            return clients[address]

        yield at
