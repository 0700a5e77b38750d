"""C1 and C11 on a Redis that lost some of its data, or has somebody else's."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from app.cache.engine.exchange import running
from tests.engine.each import THOROUGH
from tests.engine.redis.forwarder import Forwarder
from tests.engine.redis.shelf import MISS, Shelf
from tests.engine.wire import until
from tests.servers.valkey import Valkey

ROUNDS = 300 if THOROUGH else 30


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def valkey(start_valkey: Callable[..., Valkey]) -> Valkey:
    return start_valkey()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def test_a_server_restored_from_an_old_snapshot_serves_nothing_of_it(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey):
        assert await shelf.read() == (1, MISS)
        valkey.ask("SAVE")
        await shelf.write()
        assert await shelf.read() == (2, MISS)
        valkey.stop()
        valkey.start()
        assert await shelf.read() != (1, "fastapi; hit")
        await shelf.until("ok")
        assert (await shelf.read())[0] == 2


async def test_nor_does_a_service_that_starts_after_it_was_restored(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey):
        assert await shelf.read() == (1, MISS)
        valkey.ask("SAVE")
        await shelf.write()
    valkey.stop()
    valkey.start()
    async with shelf.in_redis(database_url, valkey):
        assert await shelf.read() == (2, MISS)
    async with shelf.in_redis(database_url, valkey):  # the same run of the server
        assert await shelf.read() == (2, "fastapi; hit")


async def test_a_promoted_replica_that_lacks_writes_serves_nothing_from_before_them(
    database_url: str,
    start_valkey: Callable[..., Valkey],
    shelf: Shelf,
    forwarder: Forwarder,
) -> None:
    valkey = start_valkey("--repl-diskless-sync-delay", "0")
    replica = start_valkey("--replicaof", "127.0.0.1", str(valkey.port))
    await forwarder.lead_to(valkey.port)
    async with shelf.in_redis(database_url, forwarder.url):
        assert await shelf.read() == (1, MISS)
        with Redis(port=valkey.port) as client:
            client.set("mark", "the replica has what is before it")
            assert client.wait(1, 20_000) == 1
        replica.ask("REPLICAOF", "NO", "ONE")
        await shelf.write()
        assert await shelf.read() == (2, MISS)
        # The stand-in for what tells clients of the new primary.
        await forwarder.cut()
        await forwarder.lead_to(replica.port)
        await shelf.until("ok")
        assert replica.ask("GET", "{app}:token:books")  # that of the old entry
        assert (await shelf.read())[0] == 2


async def test_everything_may_be_deleted_at_any_moment(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    stop = asyncio.Event()

    async def flush() -> None:
        with Redis(port=valkey.port) as client:
            while not stop.is_set():
                client.flushall()
                await asyncio.sleep(0.002)

    async with shelf.in_redis(database_url, valkey):
        flushing = asyncio.create_task(flush())
        for _ in range(ROUNDS):
            reading = [asyncio.create_task(shelf.read()) for _ in range(5)]
            await shelf.write()
            assert {(await shelf.read())[0] for _ in range(5)} == {shelf.books}
            await asyncio.gather(*reading)
        stop.set()
        await flushing
        assert (await shelf.health())["detail"]["openings"] == 0


async def test_versions_and_entries_may_be_evicted(
    database_url: str, start_valkey: Callable[..., Valkey], shelf: Shelf
) -> None:
    valkey = start_valkey("--maxmemory-policy", "allkeys-lru")
    used = int(valkey.ask("INFO", "memory")["used_memory"])
    valkey.ask("CONFIG", "SET", "maxmemory", used + 1_000_000)
    async with shelf.in_redis(database_url, valkey):
        with Redis(port=valkey.port) as client:
            for number in range(ROUNDS):
                assert (await shelf.read())[0] == shelf.books
                await shelf.write()
                for part in range(20):
                    client.set(f"other:{number}:{part}", "x" * 50_000)
                assert (await shelf.read())[0] == shelf.books
            assert client.info()["evicted_keys"] > ROUNDS


async def test_values_of_another_type_at_our_keys_are_replaced(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey):
        await shelf.read()
        keys = [
            key.decode()
            for kind in ("entry", "token", "server", "process")
            for key in valkey.ask("KEYS", f"{{app}}:{kind}*")
        ]
        assert len(keys) >= 10  # all but three of them are versions
        for wrong in ("LPUSH", "SADD"):
            for key in keys:
                valkey.ask("DEL", key)
                valkey.ask(wrong, key, "stranger")
            assert await shelf.read() == (shelf.books, MISS)
            assert await shelf.read() == (shelf.books, "fastapi; hit")
            for key in keys:
                valkey.ask("DEL", key)
                valkey.ask(wrong, key, "stranger")
            await shelf.write()
            assert await shelf.read() == (shelf.books, MISS)
            valkey.ask("CLIENT", "KILL", "TYPE", "normal")
            await shelf.until("ok")
            assert (await shelf.read())[0] == shelf.books
        (process,) = (key for key in keys if ":process:" in key)
        await until(lambda: valkey.ask("TYPE", process) == b"string")
        assert json.loads(valkey.ask("GET", process))["breaker"] == "closed"


async def test_a_lease_of_another_type_is_replaced(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey):
        valkey.ask("LPUSH", "{app}:lease:1", "stranger")
        store = running[-1].store
        held = await store.acquire("app:lease:1", b"us", 10, "app:entry:1")
        assert held == (True, None)
        held = await store.acquire("app:lease:1", b"them", 10, "app:entry:1")
        assert held == (False, None)
        assert not store.fallback
