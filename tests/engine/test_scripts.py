"""Scripts, and what runs on an event loop of its own, invalidate what they commit."""

import asyncio
import subprocess
import sys

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.config import get_settings
from app.database import Database
from app.models import User
from tests.engine.each import CONFIGURED
from tests.engine.entries import Entries
from tests.people import Person


@pytest.fixture
async def entries(user: Person, other: Person) -> Entries:
    entries = Entries([f"user:{user.id}", f"user:{other.id}", "users:list", "products"])
    await entries.store()
    return entries


async def rename(database: Database, user_id: int) -> None:
    """Do what a script does: change one row with a session, another with a block."""
    async with database.sessions() as session:
        (await session.get_one(User, user_id)).first_name = "Not kept"
        await session.flush()
        await session.rollback()
    async with database.sessions.begin() as session:
        await session.execute(
            update(User).where(User.id == user_id).values(last_name="New")
        )


async def rename_alone(user_id: int) -> None:
    database = Database(get_settings())
    await rename(database, user_id)
    await database.dispose()


async def test_a_session_of_the_service_on_another_event_loop(
    app: FastAPI, entries: Entries, user: Person
) -> None:
    """As a job does that a thread of the service runs: its cache is told there."""
    settings = get_settings()

    async def work() -> None:
        database = Database(settings)
        # The sessions are the service's; a connection belongs to its event loop.
        app.state.database.sessions.configure(bind=database.engine)
        await rename(app.state.database, user.id)
        await database.dispose()

    await asyncio.to_thread(asyncio.run, work())
    assert await entries.dropped() == {f"user:{user.id}", "users:list"}


@pytest.mark.parametrize("storage", [CONFIGURED], indirect=True)
async def test_a_database_of_its_own_in_a_thread_of_the_service(
    entries: Entries, user: Person
) -> None:
    await asyncio.to_thread(asyncio.run, rename_alone(user.id))
    assert {f"user:{user.id}", "users:list"} <= await entries.dropped()


@pytest.mark.parametrize("storage", [CONFIGURED], indirect=True)
async def test_a_database_of_its_own_on_the_event_loop(
    entries: Entries, user: Person
) -> None:
    await rename_alone(user.id)
    assert {f"user:{user.id}", "users:list"} <= await entries.dropped()


@pytest.mark.parametrize("storage", [CONFIGURED], indirect=True)
async def test_a_script_of_its_own(entries: Entries, user: Person) -> None:
    command = [sys.executable, "-m", "tests.engine.test_scripts", str(user.id)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    assert {f"user:{user.id}", "users:list"} <= await entries.dropped()


if __name__ == "__main__":
    asyncio.run(rename_alone(int(sys.argv[1])))
