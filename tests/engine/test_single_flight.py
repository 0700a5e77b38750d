"""C7: concurrent misses of one key run the handler once."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, HTTPException
from fastapi_cache.coder import JsonCoder

from app.cache import cached, invalidate_namespace
from app.cache.engine.cache import Lookup, Reading, Wanted
from app.cache.engine.entry import version_place
from app.cache.engine.exchange import running
from app.cache.engine.ticket import Ticket, admit
from tests.engine.answers import outcome
from tests.engine.each import on_any_storage

pytestmark = on_any_storage


class Handler:
    """A handler that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.runs = 0
        self.wanted = 0
        self.all_arrived = asyncio.Event()
        self.running = asyncio.Event()
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        self.running.set()
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        return run


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def routers(handler: Handler) -> Sequence[APIRouter]:
    router = APIRouter(prefix="/flight")

    async def arrive() -> None:
        handler.arrivals += 1
        if handler.arrivals == handler.wanted:
            handler.all_arrived.set()

    Arrived = Annotated[None, Depends(arrive)]

    @router.get("/plain")
    @cached(namespace="flight")
    async def plain(_: Arrived) -> int:
        return await handler()

    @router.get("/coder")
    @cached(namespace="flight", coder=JsonCoder)
    async def coder(_: Arrived) -> int:
        return await handler()

    return (router,)


Task = asyncio.Task[httpx.Response]


async def _requests(
    client: httpx.AsyncClient, handler: Handler, count: int, path: str = "/flight/plain"
) -> list[Task]:
    """Send requests; return when the dependencies of all have run."""
    handler.wanted = handler.arrivals + count
    handler.all_arrived.clear()
    tasks = [asyncio.create_task(client.get(path)) for _ in range(count)]
    await handler.all_arrived.wait()
    return tasks


def _flights() -> int:
    return len(running[-1].flights)


@pytest.mark.parametrize("path", ["/flight/plain", "/flight/coder"])
async def test_500_cold_requests_are_one_run(
    client: httpx.AsyncClient, handler: Handler, path: str
) -> None:
    tasks = await _requests(client, handler, 500, path)
    await handler.running.wait()
    handler.may_end.set()
    answers = await asyncio.gather(*tasks)
    assert handler.runs == 1
    assert {(a.status_code, a.content) for a in answers} == {(200, b"1")}
    assert len({a.headers["etag"] for a in answers}) == 1
    statuses = [a.headers["cache-status"].partition("; ttl")[0] for a in answers]
    assert statuses.count("fastapi; fwd=miss; stored") == 1
    assert set(statuses) - {"fastapi; fwd=miss; stored"} <= {
        "fastapi; fwd=miss; collapsed",
        "fastapi; hit",
    }
    assert _flights() == 0


async def test_a_cancelled_leader_fails_nobody_else(
    client: httpx.AsyncClient, handler: Handler
) -> None:
    (leader,) = await _requests(client, handler, 1)
    await handler.running.wait()
    followers = await _requests(client, handler, 20)
    handler.running.clear()
    leader.cancel()
    await handler.running.wait()
    handler.may_end.set()
    answers = await asyncio.gather(*followers)
    assert leader.cancelled()
    assert handler.runs == 2
    assert {(a.status_code, a.content) for a in answers} == {(200, b"2")}
    assert _flights() == 0


async def test_a_cancelled_follower_fails_nobody_else(
    client: httpx.AsyncClient, handler: Handler
) -> None:
    (leader,) = await _requests(client, handler, 1)
    await handler.running.wait()
    followers = await _requests(client, handler, 20)
    followers.pop().cancel()
    handler.may_end.set()
    answers = await asyncio.gather(leader, *followers)
    assert {(a.status_code, a.content) for a in answers} == {(200, b"1")}
    assert handler.runs == 1


@pytest.mark.parametrize(
    ("failure", "status"), [(HTTPException(409), 409), (RuntimeError("broken"), 500)]
)
async def test_each_follower_of_a_failure_is_told_of_his_own(
    client: httpx.AsyncClient, handler: Handler, failure: Exception, status: int
) -> None:
    handler.failure = failure
    tasks = await _requests(client, handler, 20)
    await handler.running.wait()
    handler.may_end.set()
    answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} == {status}
    assert handler.runs == 20
    assert _flights() == 0
    handler.failure = None
    healed = await client.get("/flight/plain")
    assert (healed.status_code, outcome(healed)) == (200, "MISS")
    assert outcome(await client.get("/flight/plain")) == "HIT"


async def test_no_request_joins_a_run_from_before_an_invalidation(
    client: httpx.AsyncClient, handler: Handler
) -> None:
    (older,) = await _requests(client, handler, 1)
    await handler.running.wait()
    handler.running.clear()
    await invalidate_namespace("flight")
    (newer,) = await _requests(client, handler, 1)
    async with asyncio.timeout(30):
        await handler.running.wait()
    handler.may_end.set()
    answers = await asyncio.gather(older, newer)
    assert [answer.json() for answer in answers] == [1, 2]
    assert (await client.get("/flight/plain")).json() == 2


async def test_no_cache_is_a_run_of_its_own(
    client: httpx.AsyncClient, handler: Handler
) -> None:
    (older,) = await _requests(client, handler, 1)
    await handler.running.wait()
    handler.may_end.set()
    fresh = await client.get("/flight/plain", headers={"Cache-Control": "no-cache"})
    await older
    assert fresh.json() == handler.runs == 2


@pytest.mark.usefixtures("client")
async def test_who_looked_up_again_stores_nothing_of_what_was_read_before() -> None:
    """A dependency has read, another process writes, and the leader is cancelled."""
    cache, reading = running[-1], Reading()
    versions = [version_place(cache.prefix, name) for name in ("", "again")]
    place = cache.place("again", "")

    def wanted(reading: Reading) -> Wanted:
        return Wanted("again", lambda: place, 60, reading, storable=None)

    leader = wanted(Reading())
    known = await cache.find(leader)
    assert isinstance(known, Lookup)
    led = await admit(cache, leader, known)
    assert isinstance(led, Ticket)

    await reading.look_ahead(cache, [place, *versions])
    reading.begin()
    reading.end()
    known = await cache.find(wanted(reading))
    assert isinstance(known, Lookup)
    assert known.first
    following = asyncio.create_task(admit(cache, wanted(reading), known))
    while not cache.flights.waiting:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    await cache.store.renew({versions[1]: b"of another process"}, 60)
    await led.land(None, abandoned=True)
    ticket = await following
    assert isinstance(ticket, Ticket)
    assert not ticket.storable
    await ticket.land(None)
