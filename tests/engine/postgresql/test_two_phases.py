"""Transactions that are prepared, and committed then, perhaps by somebody else."""

import asyncio
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import URL, Connection, NullPool, make_url, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from app.database.local import local_server
from app.database.migrate import upgrade
from app.models import User
from tests.engine.postgresql.test_by_hand import router
from tests.environment import settings_from
from tests.people import Person
from tests.servers import free_port


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """Yield that of a server which can prepare transactions."""
    url = make_url("postgresql+asyncpg://postgres:postgres@127.0.0.1/postgres")
    url = url.set(port=free_port())
    with local_server(tmp_path, url):
        asyncio.run(allow(url))
    wait_until_it_has_stopped(url)
    with local_server(tmp_path, url):
        text_of_url = url.render_as_string(hide_password=False)
        with settings_from(DATABASE_URL=text_of_url) as settings:
            upgrade(settings)
        yield text_of_url


def wait_until_it_has_stopped(url: URL) -> None:
    """Else it is joined, before its keeper sees that nobody uses it."""
    with suppress(ConnectionRefusedError, ConnectionResetError):
        while True:
            socket.create_connection((url.host, url.port)).close()
            time.sleep(0.05)


async def allow(url: URL) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text("ALTER SYSTEM SET max_prepared_transactions = 2"))


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


def prepare(connection: Connection) -> None:
    transaction = connection.begin_twophase("apart")
    connection.execute(update(User).values(first_name="Apart"))
    transaction.prepare()


async def test_both_phases_are_seen_whoever_does_the_second(
    app: FastAPI, client: httpx.AsyncClient, user: Person
) -> None:
    engine = app.state.database.engine

    async def names() -> list[str]:
        answers = [(await client.get("/by-hand")).json() for _ in range(2)]
        assert answers[0] == answers[1]
        return list(answers[0])

    await names()
    await engine.dispose()  # a connection that nobody has used tells no more than it
    async with AsyncSession(engine, twophase=True) as session:
        await session.execute(update(User).values(first_name="In two"))
        await session.commit()
    assert await names() == ["In two"]

    async with engine.connect() as connection:
        await connection.run_sync(prepare)
        assert await names() == ["In two"]
        await connection.invalidate()  # as if its process had died
    async with engine.connect() as another:
        await another.run_sync(lambda sync: sync.commit_prepared("apart", recover=True))
    assert await names() == ["Apart"]
