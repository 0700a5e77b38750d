import asyncio
import sys

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.config import Settings
from app.database import Database
from app.errors import StartupError
from app.models import Role, User


def somebody(number: int) -> User:
    return User(
        email=f"{number}@example.com",
        first_name="Some",
        last_name="Body",
        password_hash="-",
        role=Role.user,
    )


async def count(session: AsyncSession) -> int:
    return await session.scalar(select(func.count()).select_from(User)) or 0


async def test_a_session_is_committed_at_its_end(database: Database) -> None:
    async with database.session() as session:
        session.add(somebody(1))
    async with database.session(writes=False) as session:
        assert await count(session) == 1


async def test_an_error_rolls_a_session_back(database: Database) -> None:
    async def fail() -> None:
        async with database.session() as session:
            session.add(somebody(1))
            await session.flush()
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.session(writes=False) as session:
        assert await count(session) == 0


async def test_a_commit_that_fails_keeps_no_other_process_from_writing(
    database: Database, settings: Settings
) -> None:
    async with database.session() as session:
        refers = "of INTEGER REFERENCES parts DEFERRABLE INITIALLY DEFERRED"
        await session.execute(
            text(f"CREATE TABLE parts (id INTEGER PRIMARY KEY, {refers})")
        )
    with pytest.raises(IntegrityError):
        async with database.session() as session:
            await session.execute(text("INSERT INTO parts VALUES (1, 2)"))
    elsewhere = Database(settings)
    async with elsewhere.session() as session:
        session.add(somebody(1))
    await elsewhere.dispose()


async def test_a_savepoint_is_undone_with_its_transaction(database: Database) -> None:
    async def fail() -> None:
        async with database.session() as session:
            async with session.begin_nested():
                session.add(somebody(1))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.session(writes=False) as session:
        assert await count(session) == 0


async def test_writers_that_read_first_all_get_their_turn(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.session() as session:
            await count(session)
            session.add(somebody(number))

    await asyncio.gather(*(write(number) for number in range(40)))

    async with database.session(writes=False) as session:
        assert await count(session) == 40


async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    async with database.session() as writing:
        writing.add(somebody(1))
        await writing.flush()
        async with database.session(writes=False) as reading:
            assert await count(reading) == 0


async def test_no_more_connections_are_opened_than_the_setting_says(
    settings: Settings,
) -> None:
    database = Database(settings.model_copy(update={"database_pool_size": 1}))
    async with database.engine.connect():
        with pytest.raises(TimeoutError):
            await database.check(timeout=0.1)
    await database.dispose()


async def test_references_are_enforced(database: Database) -> None:
    statement = text(
        "INSERT INTO auth_sessions (id, user_id, refresh_jti, expires_at, created_at)"
        " VALUES ('a', 404, 'b', '2026-01-01', '2026-01-01')"
    )
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        async with database.session() as session:
            await session.execute(statement)


async def test_the_answer_time_is_in_seconds(database: Database) -> None:
    assert 0 < await database.check(timeout=10) < 10


def test_a_driver_that_is_not_installed_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The driver is back before the test's database goes.
    with monkeypatch.context() as patch:
        for driver in ("aiosqlite", "asyncpg"):
            patch.setitem(sys.modules, driver, None)
        with pytest.raises(StartupError, match="update -d database="):
            Database(settings)
