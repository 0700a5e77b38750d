"""Requests of other processes and below a root path, and the token."""

import asyncio
from multiprocessing import get_context

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.errors import StartupError
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.test_metrics import TOKEN, scrape

REQUESTS = "http_requests_total"


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def serve_once() -> None:
    asyncio.run(ask_once())


async def ask_once() -> None:
    app = create_app()
    async with lifespan(app), client_of(app) as client:
        await client.get("/livez")


async def test_what_another_process_of_the_service_has_counted_is_added(
    client: httpx.AsyncClient,
) -> None:
    before = await scrape(client)
    other = get_context("spawn").Process(target=serve_once)
    other.start()
    await client.get("/livez")
    await asyncio.to_thread(other.join)
    found = await scrape(client) - before
    assert other.exitcode == 0
    assert found[f"{REQUESTS} GET /livez 200"] == 2


async def test_the_route_is_there_below_a_root_path(database_url: str) -> None:
    with settings_from(
        DATABASE_URL=database_url, METRICS_TOKEN=TOKEN, ROOT_PATH="/api"
    ) as settings:
        app = create_app(settings)
        async with lifespan(app), client_of(app) as client:
            before = await scrape(client)
            for path in ("/livez", "/api/livez", "/api/none"):
                await client.get(path)
            found = await scrape(client) - before
    assert found["http_requests_total GET /livez 200"] == 2
    assert found["http_requests_total GET unmatched 404"] == 1


@pytest.mark.parametrize("token", ["short", "with some spaces in between them"])
def test_a_weak_token_is_refused_by_its_name(database_url: str, token: str) -> None:
    with (
        pytest.raises(StartupError, match="METRICS_TOKEN") as error,
        settings_from(DATABASE_URL=database_url, METRICS_TOKEN=token),
    ):
        pass
    assert token not in str(error.value)


def test_the_page_is_in_no_documentation(app: FastAPI, settings: Settings) -> None:
    assert settings.metrics_token.get_secret_value() == TOKEN
    assert "/metrics" not in app.openapi()["paths"]
