"""What the page says of Redis."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from app.config import Settings
from app.main import create_app
from tests.asgi import lifespan
from tests.environment import settings_from
from tests.people import Person
from tests.servers.valkey import Valkey
from tests.test_metrics import TOKEN
from tests.test_pages import Browser


@pytest.fixture
def valkey(start_valkey: Callable[..., Valkey]) -> Valkey:
    return start_valkey()


@pytest.fixture
def settings(valkey: Valkey, database_url: str) -> Iterator[Settings]:
    with settings_from(
        DATABASE_URL=database_url, REDIS_URL=valkey.url, METRICS_TOKEN=TOKEN
    ) as settings:
        yield settings


async def newest(browser: Browser, wanted: str) -> list[str]:
    """Return the last event of Redis as soon as it is the one that is wanted."""
    async with asyncio.timeout(30):
        while True:
            found = (await browser.cache()).tables["redis-rows"][0]
            if len(found) > 1 and found[1] == wanted:
                return found


async def test_it_says_when_redis_is_given_up_and_why_and_when_it_is_back(
    browser: Browser, valkey: Valkey, admin: Person
) -> None:
    await browser.logged_in(admin)
    valkey.stop()
    _, _, why, _ = await newest(browser, "given up")
    assert "check REDIS_URL" in why
    assert (await browser.cache()).figures["Without Redis"] == 1
    valkey.start()
    await newest(browser, "used again")
    assert (await browser.cache()).figures["Without Redis"] == 0


async def test_it_says_why_something_could_not_be_cleared(
    browser: Browser, valkey: Valkey, admin: Person
) -> None:
    await browser.logged_in(admin)
    csrf = (await browser.cache()).csrf
    valkey.stop()
    fields = {"csrf": csrf, "namespace": "users:list"}
    answer = await browser.post("/admin/cache/clear", fields)
    assert "Not dropped yet: users:list" in answer.text


async def test_no_password_of_redis_is_shown(database_url: str, admin: Person) -> None:
    secret = "hidden-Xv7Lq2"
    url = f"redis://:{secret}@127.0.0.1:1/0"
    with settings_from(
        DATABASE_URL=database_url, REDIS_URL=url, METRICS_TOKEN=TOKEN
    ) as settings:
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            lifespan(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            browser = await Browser(client).logged_in(admin)
            answer = await browser.get("/admin/cache")
    assert "given up" in answer.text
    assert secret not in answer.text
