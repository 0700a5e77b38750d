"""C8 and C9: a Redis that goes away, at the start or later, and comes back."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import CancelScope
from pydantic import SecretStr

from app.cache import invalidate_namespace
from app.cache.engine.cache import Cache, Lookup, Wanted
from app.cache.engine.entry import Entry
from app.cache.engine.processes import Marker, epoch_file
from app.cache.engine.redis import breaker, failover
from app.cache.engine.redis.breaker import ALONE, UNDELIVERED
from app.cache.engine.redis.failover import Failover
from app.cache.engine.store import StoreError
from app.cache.engine.ticket import Ticket, admit
from app.config import Settings
from tests.engine.redis.forwarder import Forwarder
from tests.engine.redis.shelf import LOCAL_MISS, MISS, Shelf
from tests.engine.wire import until
from tests.environment import settings_from
from tests.servers import free_port
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


def undelivered(settings: Settings) -> Marker:
    return Marker(epoch_file(settings.database_url), UNDELIVERED)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_starts_without_redis_and_uses_it_when_it_comes(
    database_url: str,
    valkey: Valkey,
    shelf: Shelf,
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    getattr(valkey, fault)()
    async with shelf.served(database_url, valkey):
        assert await shelf.read() == (1, LOCAL_MISS)
        hit = (await shelf.client.get("/books")).headers["cache-status"]
        # Not the 100 s of its route: memory keeps it for CACHE_FALLBACK_TTL.
        assert re.fullmatch(r"fastapi; hit; ttl=(9|10); detail=fallback", hit)
        assert (await shelf.until("degraded"))["detail"]["breaker"] == "open"
        valkey.start() if fault == "stop" else valkey.thaw()
        await shelf.until("ok")
        assert [await shelf.read() for _ in range(2)] == [
            (1, MISS),
            (1, "fastapi; hit"),
        ]
    if fault == "stop":
        failed, works = warnings(caplog)
        assert failed.startswith("Failed to connect to Redis")
        assert works.startswith("Caching in Redis")


@pytest.mark.parametrize("fault", ["stop", "freeze"])
async def test_writes_during_an_outage_are_seen_during_it_and_after_it(
    database_url: str,
    valkey: Valkey,
    shelf: Shelf,
    fault: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with shelf.in_redis(database_url, valkey):
        assert await shelf.read() == (1, MISS)
        getattr(valkey, fault)()
        for _ in range(20):
            assert (await shelf.read())[0] == shelf.books
            await shelf.write()
            assert await shelf.read() == (shelf.books, LOCAL_MISS)
        detail = (await shelf.health())["detail"]
        assert (detail["breaker"], detail["unconfirmed"]) == ("open", 1)
        await until(lambda: warnings(caplog))
        valkey.start() if fault == "stop" else valkey.thaw()
        await shelf.until("ok")
        assert await shelf.read() == (21, MISS)
        detail = (await shelf.health())["detail"]
        assert (detail["breaker"], detail["unconfirmed"]) == ("closed", 0)
        assert detail["openings"] == 1
    lost, works = warnings(caplog)
    assert lost.startswith("Lost Redis")
    assert "delivered 1 invalidations" in works


async def test_memory_of_one_outage_is_forgotten_before_the_next(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey, CACHE_FALLBACK_TTL="100"):
        valkey.stop()
        assert await shelf.read() == (1, LOCAL_MISS)
        valkey.start()
        await shelf.until("ok")
        await shelf.write()
        valkey.stop()
        assert await shelf.read() == (2, LOCAL_MISS)


async def test_who_waits_for_redis_goes_on_with_the_first_who_gives_up(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey, CACHE_TIMEOUT="5"):
        assert (await shelf.read())[0] == 1
        valkey.freeze()
        first = asyncio.create_task(shelf.read())
        await asyncio.sleep(4)
        second = asyncio.create_task(shelf.read())
        assert await first == (1, LOCAL_MISS)
        # By its own deadline, the second would wait for 4 s more.
        assert (await asyncio.wait({second}, timeout=3.5))[0] == {second}


async def test_a_stalled_event_loop_is_no_outage(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey, CACHE_TIMEOUT="0.1"):
        await shelf.read()
        for stall in (0.15, 0.5):
            reading = asyncio.create_task(shelf.read())
            await asyncio.sleep(0)
            time.sleep(stall)  # noqa: ASYNC251 - it is the stall
            assert (await reading)[1].startswith("fastapi; hit")
        assert (await shelf.health())["detail"]["openings"] == 0


async def test_an_event_loop_that_is_always_busy_is_no_outage(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    """Each turn of it takes longer than Redis has for its answer."""

    async def work() -> None:
        while True:
            time.sleep(0.03)  # noqa: ASYNC251 - it is the work
            await asyncio.sleep(0)

    async with shelf.in_redis(database_url, valkey, CACHE_TIMEOUT="0.1"):
        await shelf.read()
        working = [asyncio.create_task(work()) for _ in range(5)]
        for _ in range(3):
            assert (await shelf.read())[1].startswith("fastapi; hit")
        for task in working:
            task.cancel()
        await asyncio.wait(working)
        assert (await shelf.health())["detail"]["openings"] == 0


async def test_a_cancelled_client_leaves_the_connection_in_step(
    database_url: str, valkey: Valkey, shelf: Shelf
) -> None:
    async with shelf.in_redis(database_url, valkey):
        assert await shelf.read() == (1, MISS)
        for pause in (0, 0.01, 0.05):
            valkey.freeze()
            reading = [asyncio.create_task(shelf.read()) for _ in range(5)]
            await asyncio.sleep(pause)
            for task in reading:
                task.cancel()
            valkey.thaw()
            await asyncio.gather(*reading, return_exceptions=True)
            assert await shelf.read() == (1, "fastapi; hit")
        assert (await shelf.health())["detail"]["openings"] == 0


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_clock_that_jumps_serves_nothing_stale(
    database_url: str,
    valkey: Valkey,
    shelf: Shelf,
    hours: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = time.time
    async with shelf.in_redis(database_url, valkey):
        for ahead in (0, hours, 0):
            monkeypatch.setattr(time, "time", lambda now=ahead: clock() + 3600 * now)
            assert (await shelf.read())[0] == shelf.books
            await shelf.write()
            assert await shelf.read() == (shelf.books, MISS)
            assert (await shelf.read())[1].startswith("fastapi; hit")


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Cache]:
    """Yield the cache of one more process: its files know nothing of this one's."""
    store = Failover(settings)
    await store.open()
    try:
        yield Cache(store, settings)
    finally:
        await store.close()


@pytest.fixture
async def settings_of_valkey(
    database_url: str, valkey: Valkey
) -> AsyncIterator[Settings]:
    with settings_from(
        DATABASE_URL=database_url, REDIS_URL=valkey.url, CACHE_TIMEOUT="1"
    ) as settings:
        yield settings


async def lookup(cache: Cache, key: str) -> Lookup:
    """Look a key up as a request that begins now."""
    return await cache.lookup(Wanted(key, lambda: cache.place(key, ""), 60))


async def keep(cache: Cache, key: str) -> None:
    found = await lookup(cache, key)
    assert found.versions is not None
    now = time.time()
    entry = Entry(found.versions, now, now + 60, 0, 0, (), b"old")
    assert await cache.keep(found.place, entry)
    assert (await lookup(cache, key)).entry is not None


async def test_leases_that_an_outage_kept_are_given_back_after_it(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    """Else the next ones to miss would wait for a run that is over."""
    async with worker(settings_of_valkey) as cache:
        store = cache.store
        for lease in ("taken", "stored"):
            assert (await store.acquire(lease, b"us", 60, "key"))[0]
        valkey.freeze()
        assert (await store.acquire("asked for", b"us", 60, "key"))[0]
        assert store.fallback
        for lease in ("taken", "asked for"):
            await store.release(lease, b"us")
        await store.put("key", b"value", 60, lease="stored", owner=b"us")
        valkey.thaw()
        await until(lambda: not store.fallback)
        for lease in ("taken", "stored", "asked for"):
            assert (await store.acquire(lease, b"them", 60, "key"))[0]


async def test_leases_of_an_outage_are_not_remembered(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    """They were never in Redis, and there is no limit to how many there are."""
    async with worker(settings_of_valkey) as cache:
        valkey.stop()
        await until(lambda: cache.store.fallback)
        for number in range(10):
            lease = f"lease:{number}"
            assert (await cache.store.acquire(lease, b"us", 60, "key"))[0]
            await cache.store.release(lease, b"us")
        assert not cache.store._leases  # type: ignore[attr-defined]


async def test_a_request_that_is_given_up_leaves_no_lease(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    """Neither in Redis, where others wait for its end, nor in what is remembered."""
    async with worker(settings_of_valkey) as cache:
        await until_used(cache)
        wanted = Wanted("books", lambda: cache.place("books", ""), 60)
        found = await cache.find(wanted)
        assert isinstance(found, Lookup)
        asking = asyncio.create_task(admit(cache, wanted, found))
        for _ in range(3):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        for stores in (False, True):
            ticket = await admit(cache, wanted, found)
            assert isinstance(ticket, Ticket)
            assert ticket.lease
            with CancelScope() as scope:
                scope.cancel()
                entry = ticket.entry(b"value") if stores else None
                await (ticket.store("key", entry) if entry else ticket.land(None))
            await ticket.land(None)
        assert not cache.store._leases  # type: ignore[attr-defined]
        await until(lambda: not valkey.ask("KEYS", "*:lease:*"))


async def until_used(*caches: Cache) -> None:
    await until(lambda: not any(cache.store.fallback for cache in caches))


async def test_a_process_on_this_machine_that_is_cut_off_stops_the_others_from_reading(
    settings_of_valkey: Settings, valkey: Valkey, forwarder: Forwarder
) -> None:
    await forwarder.lead_to(valkey.port)
    behind = {"redis_url": SecretStr(forwarder.url)}
    cut_off = settings_of_valkey.model_copy(update=behind)
    async with worker(settings_of_valkey) as well, worker(cut_off) as lost:
        await keep(well, "books")
        assert (await lookup(lost, "books")).entry is not None
        await forwarder.cut()
        assert (await lookup(lost, "books")).entry is None
        await keep(lost, "books")
        await well.invalidate({"books"}, "a test")
        assert (await lookup(lost, "books")).entry is None
        assert (lost.store.fallback, well.store.fallback) == (True, False)

        await keep(well, "books")
        for _ in range(2):
            await lost.invalidate({"books"}, "a test")
            assert (await lookup(well, "books")).entry is None
            assert well.store.fallback
            await keep(well, "books")

        await forwarder.lead_to(valkey.port)
        await until_used(well, lost)
        assert (await lookup(well, "books")).entry is None
        await keep(well, "books")
        assert (await lookup(lost, "books")).entry is not None


async def test_processes_that_go_on_writing_use_redis_again_together(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    async with worker(settings_of_valkey) as one, worker(settings_of_valkey) as other:

        async def write(cache: Cache) -> None:
            while True:
                await cache.invalidate({"books"}, "a test")
                await asyncio.sleep(0)

        valkey.stop()
        writing = [asyncio.create_task(write(cache)) for cache in (one, other)]
        await asyncio.sleep(1)
        assert one.store.health()["unconfirmed"] == 1
        valkey.start()
        await until_used(one, other)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)


async def test_redis_is_written_but_not_read_while_another_process_keeps_something(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    other = undelivered(settings_of_valkey)
    other.show()
    async with worker(settings_of_valkey) as cache:
        store = cache.store
        version = valkey.ask("GET", "{app}:token:books")
        await cache.invalidate({"books"}, "a test")
        assert valkey.ask("GET", "{app}:token:books") != version
        assert store.health()["unconfirmed"] == 0
        assert not store._breaker.close()  # type: ignore[attr-defined]
        assert store.fallback
        other.remove()
        await until_used(cache)


def test_what_is_invalidated_again_during_its_delivery_is_kept(tmp_path: Path) -> None:
    """Else another machine could serve what it read between the two."""
    ours = breaker.Breaker("root", "somewhere", tmp_path / "epoch", lambda: None)
    ours.open("a test")
    ours.keep({"books", "films"}, b"")
    tried = ours.due()
    ours.keep({"books"}, b"")
    ours.deliver(tried)
    assert ours.due().keys() == {("books", b"")}
    ours.end()


async def test_a_failure_right_after_an_outage_begins_the_next_one(
    settings_of_valkey: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Failover(settings_of_valkey)
    beat = store._beat

    async def fails_when_redis_is_used() -> None:
        if not store.fallback:
            raise StoreError("a test")
        await beat()

    store._breaker.open("a test")
    await store._look()
    assert not store.fallback
    monkeypatch.setattr(store, "_beat", fails_when_redis_is_used)
    store._breaker.open("a test")
    await store._look()
    assert store.fallback
    await store.close()


@pytest.mark.parametrize("when", ["runs", "starts"])
async def test_what_a_dead_process_could_not_deliver_is_made_up_for(
    settings_of_valkey: Settings, valkey: Valkey, when: str
) -> None:
    async with worker(settings_of_valkey) as before:
        await keep(before, "books")
        if when == "runs":
            _die_with_an_undelivered_invalidation(settings_of_valkey)
            async with asyncio.timeout(30):
                while (await lookup(before, "books")).entry:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    if when == "starts":
        _die_with_an_undelivered_invalidation(settings_of_valkey)
    async with worker(settings_of_valkey) as after:
        await until_used(after)
        assert (await lookup(after, "books")).entry is None
        await keep(after, "books")
    assert not undelivered(settings_of_valkey).others()


def _die_with_an_undelivered_invalidation(settings: Settings) -> None:
    marker = undelivered(settings)
    marker.show()
    marker.leave()


async def test_a_fence_that_redis_did_not_take_keeps_redis_out_until_the_commit(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    long = settings_of_valkey.model_copy(update={"cache_fence_ttl": 60})
    async with worker(long) as cache:
        await keep(cache, "books")
        valkey.stop()
        await cache.fence({"books"}, b"writer")
        valkey.start()
        await asyncio.sleep(2)
        assert cache.store.fallback  # Redis answers, but the writer may not be done
        await cache.invalidate({"books"}, "a test", b"writer")
        await until_used(cache)
        assert cache.store.health()["unconfirmed"] == 0


async def test_a_fence_whose_writer_never_ends_is_delivered_when_it_falls(
    settings_of_valkey: Settings, valkey: Valkey
) -> None:
    short = settings_of_valkey.model_copy(update={"cache_fence_ttl": 0.3})
    async with worker(short) as cache:
        await keep(cache, "books")
        valkey.freeze()
        await cache.fence({"books"}, b"writer")
        valkey.thaw()
        await until_used(cache)
        assert (await lookup(cache, "books")).entry is None


async def test_too_many_undelivered_invalidations_become_one_of_everything(
    settings_of_valkey: Settings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "LIMIT", 10)
    async with worker(settings_of_valkey) as cache:
        await keep(cache, "books")
        await keep(cache, "films")
        valkey.freeze()
        for number in range(10):
            await cache.invalidate({f"books:{number}"}, "a test")
        assert cache.store.health()["unconfirmed"] == 10
        await cache.invalidate({"books:10"}, "a test")
        assert cache.store.health()["unconfirmed"] == 1
        valkey.thaw()
        await until_used(cache)
        assert (await lookup(cache, "films")).entry is None


async def test_an_invalidation_during_the_delivery_is_delivered_too(
    settings_of_valkey: Settings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each round, one comes at another moment of the return of Redis."""
    async with worker(settings_of_valkey) as cache:
        for round_ in range(40):
            await keep(cache, "books")
            cache.store._breaker.open("a test")  # type: ignore[attr-defined]
            await cache.invalidate({"books"}, "a test")
            for _ in range(round_):
                await asyncio.sleep(0)
            await cache.invalidate({"books"}, "a test")
            # Through Redis or through memory, it is gone; and so when Redis is back.
            assert (await lookup(cache, "books")).entry is None
            await until_used(cache)
            assert (await lookup(cache, "books")).entry is None
            assert cache.store.health()["unconfirmed"] == 0
            cache.store._closed_at = -10  # type: ignore[attr-defined]


async def test_a_folder_that_cannot_be_written_is_said_once(
    database_url: str,
    valkey: Valkey,
    shelf: Shelf,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # What cannot be written is the epoch.
    monkeypatch.setattr(failover, "epoch_file", lambda _: tmp_path / "file" / "epoch")
    (tmp_path / "file").touch()
    async with shelf.in_redis(database_url, valkey):
        await shelf.read()
        valkey.stop()
        for _ in range(3):
            await shelf.write()
            assert (await shelf.read())[0] == shelf.books
        valkey.start()
        await shelf.until("ok")
        assert (await shelf.read())[0] == shelf.books
    told = [w for w in warnings(caplog) if "cannot be told" in w]
    assert len(told) == 1


async def test_a_command_that_cannot_reach_redis_tells_the_running_service(
    settings_of_valkey: Settings,
    valkey: Valkey,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with worker(settings_of_valkey) as service:
        await keep(service, "books")
        with settings_from(
            DATABASE_URL=settings_of_valkey.database_url,
            REDIS_URL=f"redis://:hidden@127.0.0.1:{free_port()}/0",
        ):
            await invalidate_namespace("books")
        (line,) = warnings(caplog)
        assert "has not confirmed 1 invalidations" in line
        assert "hidden" not in line
        assert (await lookup(service, "books")).entry is None
        await until_used(service)
        assert (await lookup(service, "books")).entry is None


async def test_what_is_under_way_at_the_end_is_told_and_leaves_nothing(
    database_url: str, valkey: Valkey
) -> None:
    with settings_from(DATABASE_URL=database_url, REDIS_URL=valkey.url) as settings:
        key = f"{settings.cache_prefix}:version:"
        marks = [
            Marker(epoch_file(database_url), kind) for kind in (ALONE, UNDELIVERED)
        ]
        reader = Failover(settings)
        for steps in range(12):
            store, version = Failover(settings), f"version {steps}".encode()
            await store.open()
            renewal = asyncio.create_task(store.renew({key: version}, 60))
            for _ in range(steps):
                await asyncio.sleep(0)
            await store.close()
            await renewal
            assert await reader.get_many([key]) == [version], steps
            assert [mark.others() for mark in marks] == [0, 0], steps
        await reader.close()


async def test_what_is_under_way_to_a_frozen_server_at_the_end_is_left_to_others(
    settings_of_valkey: Settings,
    valkey: Valkey,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Failover(settings_of_valkey)
    await store.open()
    valkey.freeze()
    renewal = asyncio.create_task(store.renew({"app:token:books": b"new"}, 60))
    await asyncio.sleep(0)
    monkeypatch.setattr(store._redis.line, "patience", 0.1)  # so that the end is first
    await store.close()
    valkey.thaw()
    await renewal
    assert "has not confirmed 1 invalidations" in caplog.text
    assert len(list(undelivered(settings_of_valkey).left_behind())) == 1
