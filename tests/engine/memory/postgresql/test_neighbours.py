"""C14: memory caches of other folders, or other machines, on one PostgreSQL."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from app.cache.backend import open_once, open_store
from app.cache.engine import neighbours
from app.cache.engine.neighbours import LoneMemory
from app.cache.engine.store import CLOSED
from app.config import Settings
from app.database import Database
from tests.engine.memory.test_processes import (
    PASSWORD,
    PERSON,
    assert_no_read_is_stale,
    login,
    me,
    process,
)
from tests.servers import free_port
from tests.servers.service import API_ADMIN

ELSEWHERE = "in another folder, or on another machine"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Work in a folder of the test's own, and return another one."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        yield there


@asynccontextmanager
async def opened(settings: Settings, folder: Path) -> AsyncIterator[LoneMemory]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = await open_store(settings)
    try:
        yield store
    finally:
        await store.close()


async def used(store: LoneMemory) -> bool:
    return await store.get_many(["a"]) != [CLOSED]


async def until_used(store: LoneMemory) -> None:
    async with asyncio.timeout(60):
        while not await used(store):  # noqa: ASYNC110 - another process's time
            await asyncio.sleep(0)  # so that it is used as soon as it can be


async def terminate(store: LoneMemory, database: Database) -> None:
    """Have PostgreSQL end the connection that has the lock, and see it gone."""
    pid = store._neighbours._connection.get_server_pid()
    async with database.engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend({pid})"))
    async with asyncio.timeout(60):
        while store._neighbours._connected():  # noqa: ASYNC110 - the server's time
            await asyncio.sleep(0)


async def test_a_newcomer_changes_nothing_before_the_others_know(
    settings: Settings, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(settings, Path()) as ours:
        await ours.put("a", b"old", 100)
        assert await ours.get_many(["a"]) == [b"old"]
        async with opened(settings, elsewhere) as theirs:
            assert not await used(theirs)
            await theirs.fence(["a"], b"them", 1)
            assert not await used(ours)
            await theirs.renew({"a": b"new"}, 100, b"them")
        await until_used(ours)
        assert await ours.get_many(["a"]) == [None]
    assert ELSEWHERE in caplog.text
    assert "Caching in memory again" in caplog.text


async def test_a_command_elsewhere_waits_only_where_a_service_is(
    settings: Settings, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        for is_there in (False, True):
            async with AsyncExitStack() as stack:
                if is_there:
                    here = elsewhere.parent / "here"
                    ours = await stack.enter_async_context(opened(settings, here))
                theirs = await open_once(settings)
                await theirs.renew({"a": b"new"}, 100)
                assert ("until services elsewhere know" in caplog.text) is is_there
                assert not (is_there and await used(ours))
                await theirs.close()


async def test_who_is_given_up_while_it_waits_leaves_the_rest_to_the_next(
    settings: Settings, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(settings, Path()):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(elsewhere)
            theirs = await open_once(settings)
            for times in (1, 2):
                writing = asyncio.create_task(theirs.renew({"a": b"new"}, 100))
                async with asyncio.timeout(60):
                    while caplog.text.count("until services elsewhere know") < times:
                        await asyncio.sleep(0.01)
                        assert not writing.done()
                writing.cancel()
                await asyncio.wait([writing])
            await theirs.close()


async def test_behind_a_pooler_that_keeps_its_connection_memory_is_used(
    settings: Settings, elsewhere: Path
) -> None:
    pooled = settings.model_copy(update={"database_pooler": True})
    async with opened(pooled, elsewhere) as ours:
        assert await used(ours)


async def test_who_shares_the_folder_does_not_count(
    settings: Settings, elsewhere: Path
) -> None:
    async with opened(settings, elsewhere) as one, opened(settings, elsewhere) as two:
        assert await used(one)
        assert await used(two)


async def test_a_folder_that_cannot_be_written_is_shared_with_nobody(
    settings: Settings, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "data").write_text("in the way")
    assert neighbours._number_of(elsewhere / "data") == neighbours._OWN


async def test_without_its_lock_memory_is_not_used(
    settings: Settings, database: Database, elsewhere: Path
) -> None:
    async with opened(settings, elsewhere) as ours:
        await ours.put("a", b"old", 100)
        await terminate(ours, database)
        assert not await used(ours)
        await until_used(ours)
        assert await ours.get_many(["a"]) == [None]


async def test_a_commit_that_takes_the_lock_anew_trusts_nothing_of_before(
    settings: Settings, database: Database, elsewhere: Path
) -> None:
    async with opened(settings, elsewhere) as ours:
        assert ours._watch is not None
        ours._watch.cancel()  # so that the commit is the first to look again
        await ours.put("a", b"old", 100)
        await terminate(ours, database)
        await ours.fence(["b"], b"me", 1)
        assert await ours.get_many(["a"]) == [None]


async def test_a_lock_that_a_pooler_has_given_away_counts_as_none(
    settings: Settings, elsewhere: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(settings, elsewhere) as ours:
        await ours._neighbours._connection.execute("SELECT pg_advisory_unlock_all()")
        async with asyncio.timeout(60):
            while "as behind a pooler" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await until_used(ours)


async def test_a_late_look_trusts_nothing_of_before(
    settings: Settings, elsewhere: Path
) -> None:
    async with opened(settings, elsewhere) as ours:
        await ours.put("a", b"old", 100)
        ours._neighbours._looked -= neighbours._TRUSTED
        assert not await used(ours)
        await until_used(ours)
        assert await ours.get_many(["a"]) == [None]


async def test_a_change_that_cannot_be_told_is_a_line_in_the_log(
    settings: Settings,
    database: Database,
    elsewhere: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened(settings, elsewhere) as ours:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(neighbours, "_LOCK", "SELECT no_such_function()")
            await terminate(ours, database)
            await ours.fence(["a"], b"me", 1)
            assert "cannot be told of this change" in caplog.text
            assert not await used(ours)
        await until_used(ours)


def test_services_in_two_folders(settings: Settings, elsewhere: Path) -> None:
    """Neither has anything in memory, so each sees what the other commits."""
    with ExitStack() as stack:
        one = stack.enter_context(process(API_ADMIN, "serve", port=free_port()))
        person = PERSON | {"password": PASSWORD}
        assert httpx.post(f"{one}/register/", json=person).status_code == 201
        token = login(one)
        me(one, token)
        assert "hit" in me(one, token).headers["Cache-Status"]
        serve = process(API_ADMIN, "serve", port=free_port(), cwd=elsewhere)
        other = stack.enter_context(serve)
        assert_no_read_is_stale(one, other, token)


def test_a_command_elsewhere_is_heard(settings: Settings, elsewhere: Path) -> None:
    with process(API_ADMIN, "serve", port=free_port()) as one:
        person = PERSON | {"password": PASSWORD}
        assert httpx.post(f"{one}/register/", json=person).status_code == 201
        token = login(one)
        for _ in range(3):
            assert me(one, token).status_code == 200
        assert "hit" in me(one, token).headers["Cache-Status"]
        ban = [str(API_ADMIN), "user", "ban", PERSON["email"]]
        subprocess.run(ban, cwd=elsewhere, check=True)
        assert me(one, token).status_code == 401
