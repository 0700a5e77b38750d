"""Whether the service works, and what it says of itself."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.config import Settings
from app.main import create_app
from tests.environment import settings_from


@pytest.fixture
async def client_without_database(
    unreachable_database_url: str,
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application whose database went away."""
    with settings_from(DATABASE_URL=unreachable_database_url) as settings:
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service"
        ) as client:
            yield client
        await app.state.database.dispose()


class TestLive:
    async def test_needs_nothing(
        self, client_without_database: httpx.AsyncClient
    ) -> None:
        response = await client_without_database.get("/livez")
        assert response.status_code == 200
        assert response.json() == {"status": "ok"}


class TestReady:
    async def test_names_each_part_and_its_latency(
        self, client: httpx.AsyncClient
    ) -> None:
        response = await client.get("/readyz")
        assert response.status_code == 200
        body = response.json()
        assert body["status"] == "ok"
        assert body["parts"]["database"]["status"] == "ok"
        for part in body["parts"].values():
            assert part["latency_ms"] >= 0

    async def test_says_that_the_database_is_down(
        self, client_without_database: httpx.AsyncClient
    ) -> None:
        response = await client_without_database.get("/readyz")
        assert response.status_code == 503
        assert response.json()["status"] == "down"
        assert response.json()["parts"]["database"]["status"] == "down"

    async def test_other_routes_say_so_too(
        self, client_without_database: httpx.AsyncClient
    ) -> None:
        credentials = {"email": "ada@example.com", "password": "wrong"}
        response = await client_without_database.post("/login/", json=credentials)
        assert response.status_code == 503
        assert response.json()["code"] == "unavailable"
        assert response.headers["Retry-After"]


class TestHome:
    async def test_says_what_answers_and_where_its_docs_are(
        self, client: httpx.AsyncClient, settings: Settings
    ) -> None:
        response = await client.get("/")
        assert response.status_code == 200
        assert response.json() == {
            "name": settings.api_title,
            "version": settings.version,
            "docs": "/docs",
        }

    async def test_docs_are_served(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/docs")
        assert response.status_code == 200
        assert "openapi.json" in response.text
