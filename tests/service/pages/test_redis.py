"""What the page says of Redis, and of several processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from app.config import Settings
from tests.engine.each import THOROUGH
from tests.engine.served import CLOSE, all_there, served
from tests.environment import settings_from
from tests.people import Person
from tests.servers.valkey import Valkey
from tests.service.pages.test_cache import page_with
from tests.service.pages.test_numbers import assert_equal, cause_each_outcome
from tests.test_metrics import TOKEN, scrape
from tests.test_pages import Browser, Row

Serve = Callable[[int], AbstractAsyncContextManager[httpx.AsyncClient]]


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
        text = await page_with(settings, admin)
    assert "given up" in text
    assert secret not in text


@pytest.fixture
def service(settings: Settings, tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def service(workers: int) -> AsyncIterator[httpx.AsyncClient]:
        with served("app.main:create_app", workers, tmp_path) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                await all_there(client, workers, tmp_path)
                yield client

    return service


@pytest.mark.parametrize("workers", [1, 4] if THOROUGH else [2])
async def test_the_numbers_equal_the_metrics(
    service: Serve, workers: int, admin: Person
) -> None:
    async with service(workers) as client:
        await cause_each_outcome(client, admin)
        browser = await Browser(client).logged_in(admin)
        page, found = await browser.cache(), await scrape(client)
    assert_equal(page, found)
    assert found["http_requests_total GET /admin/cache 200"] == 1


async def rows(browser: Browser, table: str, number: int) -> list[Row]:
    """Return the rows as soon as there are so many."""
    async with asyncio.timeout(30):
        while True:
            found = (await browser.cache()).tables[table]
            if len(found) >= number and len(found[0]) > 1:
                return found


async def without_redis(browser: Browser) -> float:
    return (await browser.cache()).figures["Without Redis"]


async def until_without_redis(browser: Browser, number: int) -> None:
    """Wait until so many processes say so: each does within a second."""
    async with asyncio.timeout(30):
        while await without_redis(browser) != number:  # noqa: ASYNC110 - others' state
            await asyncio.sleep(0.05)


async def test_each_process_that_gives_redis_up_is_shown_and_when_it_is_back(
    service: Serve, valkey: Valkey, admin: Person
) -> None:
    async with service(2) as client:
        browser = await Browser(client).logged_in(admin)
        (only,) = (await browser.cache()).tables["redis-rows"]
        assert only == ["Nothing has changed: Redis is used."]
        valkey.stop()
        gone = await rows(browser, "redis-rows", 2)
        await until_without_redis(browser, 2)
        valkey.start()
        back = await rows(browser, "redis-rows", 4)
        await until_without_redis(browser, 0)
    assert [row[1] for row in gone] == ["given up"] * 2
    assert all("Connection refused" in row[2] or "closed" in row[2] for row in gone)
    assert len({row[3] for row in gone}) == 2  # processes
    assert sorted(row[1] for row in back) == ["given up"] * 2 + ["used again"] * 2


async def test_what_another_process_invalidated_is_shown(
    service: Serve, admin: Person
) -> None:
    async with service(2) as client:
        url = f"/users/{admin.id}"

        async def rename(number: int) -> httpx.Response:
            name = {"first_name": f"Name {number}", "last_name": "Other"}
            profile = {"email": admin.email, **name}
            return await client.put(url, json=profile, headers=admin.headers | CLOSE)

        # Of so many at a time, some get to the one process, some to the other.
        changed = await asyncio.gather(*map(rename, range(12)))
        assert [each.status_code for each in changed] == [200] * 12
        browser = await Browser(client).logged_in(admin)
        found = await rows(browser, "last-rows", 13)
        causes = [row[1] for row in found]
    assert causes.count("UPDATE users") == 12
    assert len({row[3] for row in found}) == 2
