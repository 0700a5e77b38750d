"""All processes count together in Redis, and go on without it."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from redis import Redis as Client

from app.config import Settings
from app.limits import redis
from app.limits.counting import FREE
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import Person
from tests.servers.valkey import Valkey
from tests.test_limits import From

# As the documentation has them.
RIGHTS = "+info +get +mget +set +del +expire +ttl +eval +time +ping"
ON = {"RATE_LIMIT_ENABLED": "true", "CACHE_TIMEOUT": "1"}


@pytest.fixture
def valkey(start_valkey: Callable[..., Valkey]) -> Valkey:
    return start_valkey()


@pytest.fixture(params=["true", "false"], ids=["cached", "uncached"])
def settings(
    request: pytest.FixtureRequest,
    valkey: Valkey,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Settings]:
    monkeypatch.setattr(redis, "PAUSE", 0)  # each request tries it again
    here = {"REDIS_URL": valkey.url, "CACHE_ENABLED": request.param}
    with settings_from(DATABASE_URL=database_url, **ON, **here) as settings:
        yield settings


@pytest.fixture
async def second(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of another process, as it were."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield client


async def wrong(client: httpx.AsyncClient, email: str = "a@example.com") -> int:
    body = {"email": email, "password": "wrong"}
    return (await client.post("/login/", json=body)).status_code


async def test_processes_count_together(at: From, second: httpx.AsyncClient) -> None:
    clients = [at("192.0.2.1"), second] * 5
    emails = [f"a{n}@example.com" for n in range(11)]
    assert [
        await wrong(client, email)
        for client, email in zip(clients, emails, strict=False)
    ] == [401] * 10
    assert await wrong(second, emails[10]) == 429


async def test_neither_addresses_nor_accounts_are_in_redis(
    at: From, user: Person, valkey: Valkey
) -> None:
    await wrong(at("192.0.2.1"), user.email)
    with Client(port=valkey.port) as client:
        keys = [key.decode() for key in client.scan_iter("*limits*")]
        assert len(keys) >= 4
        for key in keys:
            assert client.ttl(key) > 0, key
            assert user.email not in key
            assert "person" not in key
            assert "192.0.2.1" not in key


async def test_without_redis_this_process_counts_and_says_so_once(
    app: FastAPI, at: From, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[tuple[str, str]]:
        return [
            (record.levelname, record.getMessage().partition(":")[0])
            for record in caplog.records
            if record.getMessage().startswith("Limits")
        ]

    caplog.set_level("INFO", "app.server")
    client = at("192.0.2.1")
    assert await wrong(client) == 401
    valkey.stop()
    assert [await wrong(client) for _ in range(FREE + 1)] == [401] * FREE + [429]
    away = ("WARNING", "Limits are counted in this process")
    assert said() == [away]
    valkey.start()
    assert await wrong(client) == 401
    assert said() == [away, ("INFO", "Limits are counted in Redis again")]


async def test_the_rights_of_the_cache_are_enough(
    settings: Settings, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    rights = ("on", ">s3cret", "~{app}:*", *RIGHTS.split())
    valkey.ask("ACL", "SETUSER", "service", *rights)
    url = valkey.url.replace("//", "//service:s3cret@")
    app = create_app(settings.model_copy(update={"redis_url": SecretStr(url)}))
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        assert [await wrong(client) for _ in range(FREE + 1)] == [401] * FREE + [429]
    assert "Limits" not in caplog.text


async def test_a_service_starts_without_redis(
    settings: Settings, valkey: Valkey
) -> None:
    valkey.stop()
    app = create_app(settings)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        assert await wrong(client) == 401
