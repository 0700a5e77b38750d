"""C7: who waits holds no thread, no connection and no transaction, and not for ever."""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Annotated

import anyio
import anyio.to_thread
import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import text

from app.cache import cached
from app.database import Database, SessionDep
from tests.engine.answers import outcome

runs: list[str] = []
may_end = threading.Event()
MANY = 200


def _run(name: str) -> int:
    runs.append(name)
    assert may_end.wait(60)
    return 1


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    runs.clear()
    may_end.clear()
    router = APIRouter(prefix="/wait")

    @router.get("/sync")
    @cached(namespace="wait")
    def sync() -> list[int]:
        return [_run("sync")]

    @router.get("/async")
    @cached(namespace="wait")
    async def coroutine() -> list[int]:
        return [await anyio.to_thread.run_sync(_run, "async")]

    @cached(namespace="wait")
    def function() -> int:
        return _run("function")

    def dependency() -> int:
        return function()

    @router.get("/dependency")
    async def by_dependency(value: Annotated[int, Depends(dependency)]) -> list[int]:
        return [value]

    async def guard(session: SessionDep) -> None:
        await session.execute(text("SELECT 1"))

    @router.get("/session", dependencies=[Depends(guard)])
    @cached(namespace="wait")
    async def after_a_session() -> list[int]:
        runs.append("session")
        await asyncio.sleep(0.01)
        return [1]

    @router.get("/other")
    def other() -> int:
        return 2

    return (router,)


async def _begun() -> None:
    while not runs:  # noqa: ASYNC110 - it is for a thread to say so
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", ["/wait/sync", "/wait/async", "/wait/dependency"])
async def test_many_cold_requests_are_one_run_and_leave_threads_to_others(
    client: httpx.AsyncClient, path: str
) -> None:
    async with asyncio.timeout(60):
        tasks = [asyncio.create_task(client.get(path)) for _ in range(MANY)]
        await _begun()
        for _ in range(3):  # while all of them wait
            assert (await client.get("/wait/other")).json() == 2
        may_end.set()
        answers = await asyncio.gather(*tasks)
    assert [answer.json() for answer in answers] == [[1]] * MANY
    assert len(runs) == 1
    limiter = anyio.to_thread.current_default_thread_limiter()
    assert limiter.total_tokens == 40, "each thread that was lent came back"


async def test_followers_of_a_def_route_keep_no_thread(
    client: httpx.AsyncClient,
) -> None:
    before = threading.active_count()
    tasks = [asyncio.create_task(client.get("/wait/sync")) for _ in range(MANY)]
    await _begun()
    await asyncio.sleep(0)
    assert threading.active_count() <= before + 5
    may_end.set()
    await asyncio.gather(*tasks)


async def test_who_has_a_transaction_open_does_not_wait(
    app: FastAPI, client: httpx.AsyncClient, database: Database
) -> None:
    """It would keep a connection from the one that it waits for."""
    async with asyncio.timeout(60):
        answers = await asyncio.gather(
            *(client.get("/wait/session") for _ in range(50))
        )
    assert {answer.status_code for answer in answers} == {200}


async def test_a_follower_waits_for_a_bounded_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cache.engine import ticket

    monkeypatch.setattr(ticket, "LONGEST_WAIT", 0.05)
    leader = asyncio.create_task(client.get("/wait/async"))
    await _begun()
    follower = asyncio.create_task(client.get("/wait/async"))
    started = time.monotonic()
    while len(runs) < 2:  # it begins its own run
        assert time.monotonic() - started < 30
        await asyncio.sleep(0.005)
    may_end.set()
    answers = await asyncio.gather(leader, follower)
    assert [answer.json() for answer in answers] == [[1], [1]]
    assert [outcome(answer) for answer in answers] == ["MISS", "MISS"]


@pytest.mark.parametrize("when", ["before", "while it waits", "while it runs"])
async def test_a_thread_goes_on_when_its_request_is_given_up(
    app: FastAPI, when: str
) -> None:
    """As it does without a cache."""
    began, found = threading.Event(), list[int]()

    @cached()
    def function() -> int:
        began.set()
        return _run("function")

    def job() -> None:
        if when == "before":
            began.set()
            assert may_end.wait(60)
        found.append(function())

    assert app.state.settings.cache_enabled
    runs.clear()
    may_end.clear()
    async with anyio.create_task_group() as tasks:
        if when == "while it waits":
            tasks.start_soon(anyio.to_thread.run_sync, job)
            await anyio.to_thread.run_sync(began.wait)
        with anyio.CancelScope() as given_up:
            tasks.start_soon(_end_soon, began, given_up)
            await anyio.to_thread.run_sync(job)
    assert found == [1] * (2 if when == "while it waits" else 1)


async def _end_soon(began: threading.Event, given_up: anyio.CancelScope) -> None:
    await anyio.to_thread.run_sync(began.wait)
    await anyio.sleep(0.2)
    given_up.cancel()
    await anyio.sleep(0.2)
    may_end.set()
