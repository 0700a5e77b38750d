"""C8 where Redis is well, but its client is disturbed: cancelled, cramped, dated."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.cache.engine.exchange import running
from app.cache.engine.redis.server import RedisServer
from app.cache.engine.store import StoreError
from app.config import Settings
from tests.engine.redis.forwarder import Forwarder
from tests.engine.redis.shelf import LOCAL_MISS, MISS, Shelf
from tests.servers.valkey import Valkey


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def valkey(start_valkey: Callable[..., Valkey]) -> Valkey:
    return start_valkey()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def test_a_client_that_goes_in_the_middle_of_a_reply_leaves_others_their_own(
    database_url: str, valkey: Valkey, shelf: Shelf, forwarder: Forwarder
) -> None:
    await forwarder.lead_to(valkey.port)
    async with shelf.in_redis(database_url, forwarder.url, CACHE_TIMEOUT="5"):
        assert await shelf.read() == (1, MISS)
        for number in range(2, 10):
            forwarder.stick()
            reading = [asyncio.create_task(shelf.read()) for _ in range(3)]
            await forwarder.stuck.wait()
            gone, *others = reading
            gone.cancel()
            await asyncio.wait([gone])
            assert gone.cancelled()
            forwarder.go_on()
            for task in others:
                assert (await task)[0] == number - 1
            await shelf.write()
            assert await shelf.read() == (number, MISS)
            assert await shelf.read() == (number, "fastapi; hit")
        assert (await shelf.health())["detail"]["openings"] == 0


async def test_a_reply_of_the_wrong_kind_ends_its_connection_and_no_request(
    database_url: str,
    valkey: Valkey,
    shelf: Shelf,
    forwarder: Forwarder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await forwarder.lead_to(valkey.port)
    async with shelf.in_redis(database_url, forwarder.url):
        assert await shelf.read() == (1, MISS)
        # A number in front of every array: that is no answer to an MGET.
        forwarder.damage = lambda data: data.replace(b"*", b":1\r\n*", 1)
        async with asyncio.timeout(30):
            assert (await shelf.read())[0] == 1
        assert await shelf.write() == (await shelf.read())[0]
        forwarder.damage = bytes
        await shelf.until("ok")
        await shelf.read()
        assert await shelf.read() == (2, "fastapi; hit")
    assert "Traceback" not in caplog.text
    assert not [r for r in caplog.records if r.exc_info]


async def test_a_pool_of_one_connection_is_enough_for_everybody(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, f"{valkey.url}?max_connections=1"):
        for _ in range(5):
            reading = []
            for _ in range(50):  # one after the other, while the first ones wait
                reading.append(asyncio.create_task(shelf.read()))
                await asyncio.sleep(0)
            found = await asyncio.gather(*reading)
            assert {books for books, _ in found} == {shelf.books}
            await asyncio.gather(*(shelf.write() for _ in range(10)))
        assert (await shelf.health())["detail"]["openings"] == 0


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_jumps_in_an_outage_prolongs_nothing(
    database_url: str,
    valkey: Valkey,
    shelf: Shelf,
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither what memory holds, nor a fence whose writer does not come back."""
    clock = time.time
    short = {"CACHE_FALLBACK_TTL": "1", "CACHE_FENCE_TTL": "0.2"}
    async with shelf.in_redis(database_url, valkey, **short):
        valkey.stop()
        await shelf.until("degraded")
        monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)
        assert await shelf.read() == (1, LOCAL_MISS)
        assert (await shelf.read())[1].endswith("; detail=fallback")
        await running[-1].fence({"books"}, b"writer")
        monkeypatch.setattr(time, "time", clock)
        async with asyncio.timeout(30):
            while await shelf.read() != (1, LOCAL_MISS):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        valkey.start()
        await shelf.until("ok")
        assert await shelf.read() == (1, MISS)
        assert await shelf.read() == (1, "fastapi; hit")


async def test_who_still_waits_when_it_is_closed_is_told(
    settings: Settings, valkey: Valkey, forwarder: Forwarder
) -> None:
    await forwarder.lead_to(valkey.port)
    far = {"redis_url": SecretStr(forwarder.url), "cache_timeout": 60}
    server = RedisServer(settings.model_copy(update=far))
    await server.ping()
    forwarder.stick()
    asking = [asyncio.create_task(server.get_many(["a"])) for _ in range(2)]
    await forwarder.stuck.wait()
    await server.close()
    for task in asking:
        with pytest.raises(StoreError, match="closed"):
            await task
