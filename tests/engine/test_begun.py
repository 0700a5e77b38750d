"""Transactions that were begun where nobody looks: above the cache, in another task."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from multiprocessing import get_context
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import Executable, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache import cached, invalidate_namespace, shared_key_builder
from app.config import Settings, get_settings
from app.database import Database, SessionDep
from app.main import create_app
from app.models import User
from tests.asgi import lifespan
from tests.engine.each import CONFIGURED
from tests.people import Person

router = APIRouter(prefix="/begun")
of_request: ContextVar[AsyncSession] = ContextVar("of_request")


@cached(namespace="begun")
async def names(session: AsyncSession) -> list[str]:
    return [*await session.scalars(select(User.first_name).order_by(User.id))]


@router.get("/names")
async def get_names(session: SessionDep) -> list[str]:
    return await names(session)


@router.get("/by-middleware")
@cached(namespace="begun", key_builder=shared_key_builder)
async def get_by_middleware(own: SessionDep) -> list[str]:
    session = of_request.get(own)
    return [*await session.scalars(select(User.first_name).order_by(User.id))]


@router.post("/rename/{user_id}")
async def rename(user_id: int, session: SessionDep) -> list[str]:
    # Before Python 3.12, what it waits for is a task of its own.
    user = await asyncio.wait_for(session.get_one(User, user_id), 5)
    user.first_name = "Renamed"
    await session.flush()
    return await names(session)


NAME = text("SELECT first_name FROM users ORDER BY id")


async def by_another_engine(_: AsyncSession) -> Any:
    engine = create_async_engine(get_settings().database_url)
    async with engine.connect() as connection:
        name = await connection.scalar(NAME)
    await engine.dispose()
    return name


async def in_a_thread(_: AsyncSession) -> Any:
    async def read() -> Any:
        database = Database(get_settings())
        async with database.session() as session:
            name = await session.scalar(NAME)
        await database.dispose()
        return name

    # Unlike `asyncio.to_thread`, it does not tell the thread what it is for.
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: asyncio.run(read()))


async def by_the_driver(session: AsyncSession) -> Any:
    driver = await driver_of(session)
    if hasattr(driver, "fetchval"):  # asyncpg
        return await driver.fetchval(NAME.text)
    return (await driver.execute_fetchall(NAME.text))[0][0]


async def driver_of(session: AsyncSession) -> Any:
    connection = await session.connection()
    return (await connection.get_raw_connection()).driver_connection


UNSEEN = {
    each.__name__: each for each in (by_another_engine, in_a_thread, by_the_driver)
}


@router.get("/unseen/{how}")
@cached(namespace="begun")
async def get_unseen(how: str, session: SessionDep) -> Any:
    return await UNSEEN[how](session)


@router.get("/blocking/{user_id}")
async def get_blocking(user_id: int) -> str:
    with ThreadPoolExecutor(1) as executor:  # it keeps the event loop waiting
        executor.submit(lambda: asyncio.run(renamed(user_id, "Blocked"))).result()
    return "done"


def rename_in_a_fork(user_id: int) -> None:
    asyncio.run(renamed(user_id, "Forked"))


async def renamed(user_id: int, name: str) -> None:
    database = Database(create_app().state.settings)
    async with database.session() as session:
        change = update(User).where(User.id == user_id).values(first_name=name)
        await session.execute(change)
    await database.dispose()


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


class SessionOfRequest:
    """A middleware that opens the session of a request, and reads by it."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self.app = app
        self.database = database
        self.slow: asyncio.Event | None = None
        self.began = asyncio.Event()
        self.first: Executable = select(User.id)
        self.apart = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.database.session(writes=False) as session:
            first = session.execute(self.first)
            await (asyncio.create_task(first) if self.apart else first)
            of_request.set(session)
            self.began.set()
            if self.slow is not None:
                await self.slow.wait()
            await self.app(scope, receive, send)


@pytest.fixture
async def behind(settings: Settings) -> AsyncIterator[SessionOfRequest]:
    app = create_app(settings)
    app.include_router(router)
    async with lifespan(app):
        yield SessionOfRequest(app, app.state.database)


@pytest.mark.parametrize("apart", [False, True])
async def test_what_a_middlewares_session_reads_is_not_stored_as_if_it_were_new(
    behind: SessionOfRequest, database: Database, user: Person, *, apart: bool
) -> None:
    behind.apart = apart
    transport = httpx.ASGITransport(behind)
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        behind.slow = asyncio.Event()
        late = asyncio.create_task(client.get("/begun/by-middleware"))
        await behind.began.wait()
        async with database.session() as session:
            change = update(User).where(User.id == user.id)
            await session.execute(change.values(first_name="New"))
        behind.slow.set()
        await late
        assert "New" in (await client.get("/begun/by-middleware")).json()


async def test_what_a_middlewares_session_has_changed_is_seen_by_the_handler(
    behind: SessionOfRequest, user: Person
) -> None:
    transport = httpx.ASGITransport(behind.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        for outcome in ("MISS", "HIT"):
            answer = await client.get("/begun/by-middleware")
            assert answer.headers["X-FastAPI-Cache"] == outcome
    behind.first = update(User).values(first_name="Changed")
    transport = httpx.ASGITransport(behind)
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        assert (await client.get("/begun/by-middleware")).json() == ["Changed"]


async def test_a_transaction_that_began_in_another_task_is_seen(
    client: httpx.AsyncClient, user: Person
) -> None:
    for _ in range(2):
        assert "Renamed" not in (await client.get("/begun/names")).json()
    assert "Renamed" in (await client.post(f"/begun/rename/{user.id}")).json()


async def test_invalidate_acts_at_the_commit_of_another_tasks_transaction(
    app: FastAPI, user: Person
) -> None:
    shelf = {"books": 1}

    @cached(namespace="begun:books")
    async def books() -> int:
        return shelf["books"]

    async with app.state.database.session() as session:
        await asyncio.gather(session.execute(select(User.id)))
        await invalidate_namespace("begun:books")
        assert await books() == 1
        shelf["books"] = 2
    assert await books() == 2


async def test_a_commit_in_another_loop_does_not_wait_for_one_that_waits_for_it(
    client: httpx.AsyncClient, user: Person
) -> None:
    await client.get("/begun/names")
    async with asyncio.timeout(30):
        assert (await client.get(f"/begun/blocking/{user.id}")).status_code == 200
    await asyncio.sleep(0.1)  # the next request comes by the event loop
    assert "Blocked" in (await client.get("/begun/names")).json()


@pytest.mark.parametrize("storage", [CONFIGURED], indirect=True)
async def test_a_commit_while_the_event_loop_stands_still_is_known_elsewhere(
    client: httpx.AsyncClient, user: Person, server: str
) -> None:
    await client.get("/users/me", headers=user.headers)

    def first_name() -> str:
        answer = httpx.get(f"{server}/users/me", headers=user.headers)
        return str(answer.json()["first_name"])

    def standing_still() -> str:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(lambda: asyncio.run(renamed(user.id, "Blocked"))).result()
        return first_name()

    assert first_name() != "Blocked"
    assert first_name() != "Blocked"
    assert standing_still() == "Blocked"


@pytest.mark.parametrize("how", UNSEEN)
async def test_what_is_read_where_nobody_looks_is_not_stored(
    client: httpx.AsyncClient, database: Database, user: Person, how: str
) -> None:
    for name in ("Before", "After"):
        async with database.session() as session:
            await session.execute(update(User).values(first_name=name))
        for _ in range(2):
            answer = await client.get(f"/begun/unseen/{how}")
            assert answer.json() == name
            assert "stored" not in answer.headers["Cache-Status"].split("; ")


async def test_what_the_driver_writes_in_a_transaction_drops_everything(
    client: httpx.AsyncClient, database: Database, user: Person
) -> None:
    await client.get("/begun/by-middleware")
    async with database.session() as session:
        driver = await driver_of(session)
        await driver.execute("UPDATE users SET first_name = 'By the driver'")
    assert (await client.get("/begun/by-middleware")).json() == ["By the driver"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("storage", [CONFIGURED], indirect=True)
async def test_a_commit_in_a_forked_process_does_not_wait_for_a_loop_that_it_lacks(
    client: httpx.AsyncClient, user: Person
) -> None:
    await client.get("/begun/names")
    fork = get_context("fork").Process(target=rename_in_a_fork, args=(user.id,))
    fork.start()
    await asyncio.to_thread(fork.join, 30)
    fork.kill()
    assert fork.exitcode == 0
    assert "Forked" in (await client.get("/begun/names")).json()
