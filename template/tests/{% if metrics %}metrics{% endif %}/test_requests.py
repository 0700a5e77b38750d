"""Requests by route and status, in one process and in several."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.config import Settings
from app.errors import StartupError
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.metrics.scraped import SHOWN, TOKEN, Serve, all_of, scrape
from tests.metrics.workers import WORKERS


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://service")


# Of each kind so many; route and status are what is counted.
KINDS = [
    ("GET", "/livez", 400, "GET /livez 200"),
    ("HEAD", "/livez", 50, "HEAD /livez 405"),
    ("POST", "/livez", 50, "POST /livez 405"),
    ("GET", "/users/me", 200, "GET /users/me 401"),
    ("GET", "/users/keys/7", 100, "GET /users/keys/{key_id} 401"),
    ("POST", "/login/", 100, "POST /login/ 422"),
    ("PROPFIND", "/coffee", 50, "other unmatched 404"),
    ("GET", "/no/such/thing", 50, "GET unmatched 404"),
]


@pytest.mark.parametrize("workers", WORKERS)
async def test_each_of_a_thousand_requests_is_counted_once(
    serve: Serve, workers: int
) -> None:
    async with await serve(workers) as client:
        before = await scrape(client)
        kinds = [(m, url) for m, url, times, _ in KINDS for _ in range(times)]
        await all_of(client.request(method, url) for method, url in kinds)
        found = await scrape(client) - before
    counted = {
        name: count
        for name, count in found.items()
        if name.startswith("http_requests_total ")
    }
    assert counted == {
        f"http_requests_total {kind}": times for _, _, times, kind in KINDS
    }
    assert sum(counted.values()) == 1000
    assert found["http_request_seconds_count /livez"] == 500


async def test_nothing_is_left_of_an_older_run(serve: Serve, tmp_path: Path) -> None:
    old = tmp_path / "data" / "metrics" / "1"
    old.mkdir(parents=True)
    (old / "counter_1.db").write_bytes(b"of an older run")
    old.with_suffix(".lock").touch()
    async with await serve(1) as client:
        found = await scrape(client)
    assert found["http_requests_total GET /livez 200"] == 24
    assert not old.exists()


async def test_only_who_shows_the_token_reads_the_numbers(
    client: httpx.AsyncClient,
) -> None:
    for shown in ({}, {"Authorization": TOKEN}, {"Authorization": "Bearer wrong"}):
        answer = await client.get("/metrics", headers=shown)
        assert answer.status_code == 401, shown
        assert TOKEN not in answer.text
    answer = await client.get("/metrics", headers=SHOWN)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["cache-control"] == "no-store"
    assert "/metrics" not in answer.text


async def test_without_a_token_there_is_no_such_page(database_url: str) -> None:
    with settings_from(DATABASE_URL=database_url, METRICS_TOKEN="") as settings:
        app = create_app(settings)
        async with lifespan(app), client_of(app) as client:
            assert (await client.get("/metrics", headers=SHOWN)).status_code == 404


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
