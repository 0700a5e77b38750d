"""C4: from before the COMMIT to the invalidation, what it touches is closed."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from app.cache import invalidate_namespace, setup
from app.cache.backend import open_once
from app.cache.engine.exchange import running
from app.cache.engine.store import StoreError
from app.config import Settings
from app.database import Database
from app.models import User
from tests.engine.each import OUTLIVING
from tests.engine.entries import Entries
from tests.engine.test_commits import (
    RENAMES,
    RENAMES_OF_ANYBODY,
    Change,
    everything_of,
    profile_of,
    profiles,
    rename_by_id,
    rename_row,
    use_by_keys,
)
from tests.people import MakeKey, Person

shared = pytest.mark.parametrize("storage", OUTLIVING, indirect=True)


@pytest.fixture
async def entries(user: Person, other: Person, make_key: MakeKey) -> Entries:
    await make_key(user, name="the user's")
    entries = Entries(everything_of(user) | everything_of(other) | {"products"})
    await entries.store()
    return entries


async def at_commit(session: AsyncSession, what: Callable[[], Any]) -> None:
    """Do something when everything is ready for the COMMIT, but before it.

    The cache stands around the dialect's `do_commit`, so this has to be inside of it.
    """
    waiting: list[Callable[[], Any]] = session.info.setdefault("at_commit", [])
    waiting.append(what)
    if len(waiting) == 1:
        dialect: Any = session.get_bind().dialect
        watched = dialect.do_commit

        def commit(connection: object) -> None:
            dialect.do_commit = watched
            for each in waiting:
                each()
            watched.args[0](connection)

        dialect.do_commit = partial(watched.func, commit)


async def closed(entries: Entries) -> set[str]:
    """Return what was neither served nor stored just now."""
    await entries.dropped()
    return await entries.dropped()


@shared
@pytest.mark.parametrize("rename", RENAMES)
async def test_what_a_commit_touches_is_closed_before_it_and_open_after_it(
    rename: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    seen: list[set[str]] = []
    async with database.session() as session:
        await rename(session, user, other)
        await at_commit(session, lambda: seen.append(await_only(closed(entries))))
    assert seen == [profile_of(user)]
    assert await entries.dropped() == profile_of(user)
    assert await entries.dropped() == set()


@shared
@pytest.mark.parametrize("rename", RENAMES_OF_ANYBODY)
async def test_what_a_commit_may_touch_is_closed_before_it_and_open_after_it(
    rename: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    seen: list[set[str]] = []
    async with database.session() as session:
        await rename(session, user, other)
        await at_commit(session, lambda: seen.append(await_only(closed(entries))))
    assert profile_of(user) <= seen[0] <= profiles(user, other)
    assert await entries.dropped() == seen[0]
    assert await entries.dropped() == set()


@shared
async def test_what_is_closed_stays_so_when_it_is_invalidated_by_hand(
    database: Database, entries: Entries, user: Person
) -> None:
    seen: list[set[str]] = []
    async with database.session() as session:
        await rename_by_id(session, user, user)
        await at_commit(session, lambda: await_only(invalidate_namespace("users:list")))
        await at_commit(session, lambda: seen.append(await_only(closed(entries))))
    assert seen == [profile_of(user)]
    assert await closed(entries) == set()


@shared
async def test_what_another_listener_changes_within_the_commit_is_closed_too(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    seen: list[set[str]] = []
    async with database.session() as session:
        row = await session.get_one(User, other.id)

        @event.listens_for(session.sync_session, "before_commit")
        def rename(_: Session) -> None:
            row.first_name = "Renamed"

        await rename_by_id(session, user, user)
        await at_commit(session, lambda: seen.append(await_only(closed(entries))))
    assert seen == [profile_of(user) | profile_of(other)]
    assert await closed(entries) == set()


@shared
async def test_savepoints_close_nothing_and_the_commit_what_came_in_them(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    seen: list[set[str]] = []
    async with database.session() as session:
        await at_commit(session, lambda: seen.append(await_only(closed(entries))))
        async with session.begin_nested():
            await rename_row(session, user, other)
        savepoint = await session.begin_nested()
        await rename_row(session, other, user)
        await session.flush()
        await savepoint.rollback()
        assert await closed(entries) == set()
    assert seen == [profile_of(user) | profile_of(other)]
    assert await closed(entries) == set()


class Failed(Exception):
    """What goes wrong in these tests."""


def fail(*_: object) -> None:
    raise Failed


@shared
async def test_a_commit_that_fails_opens_what_it_closed(
    database: Database,
    entries: Entries,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with database.sessions() as session:
        await rename_by_id(session, user, user)
        dialect: Any = session.sync_session.get_bind().dialect

        def refuse(*_: object) -> None:
            raise dialect.loaded_dbapi.IntegrityError("a deferred constraint")

        with monkeypatch.context() as patch:
            failing = partial(dialect.do_commit.func, refuse)
            patch.setattr(dialect, "do_commit", failing)
            with pytest.raises(IntegrityError):
                await session.commit()
    # It may have been carried out, so it is invalidated.
    assert await entries.dropped() == profile_of(user)
    assert await closed(entries) == set()


@shared
async def test_a_commit_without_an_answer_stays_closed_while_it_may_be_carried_out(
    database: Database,
    entries: Entries,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with database.sessions() as session:
        await rename_by_id(session, user, user)
        dialect: Any = session.sync_session.get_bind().dialect
        with monkeypatch.context() as patch:
            failing = partial(dialect.do_commit.func, fail)  # it is cancelled, say
            patch.setattr(dialect, "do_commit", failing)
            with pytest.raises(Failed):
                await session.commit()
        assert profile_of(user) <= await closed(entries)
    async with asyncio.timeout(30):
        while await closed(entries):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)


@shared
async def test_a_commit_that_another_listener_ends_opens_what_it_closed(
    database: Database, entries: Entries, user: Person
) -> None:
    async with database.sessions() as session:
        event.listen(session.sync_session, "before_commit", fail)
        await rename_by_id(session, user, user)
        with pytest.raises(Failed):
            await session.commit()
        await session.rollback()
        assert await session.scalar(select(User.first_name)) != "Renamed"
        assert profile_of(user) >= await entries.dropped()
        assert await closed(entries) == set()


@shared
async def test_a_flush_that_fails_after_the_fence_opens_what_was_closed(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.sessions() as session:
        row = await session.get_one(User, other.id)

        @event.listens_for(session.sync_session, "before_commit")
        def rename(_: Session) -> None:
            row.email = user.email

        await rename_by_id(session, user, user)
        with pytest.raises(IntegrityError):
            await session.commit()
    await entries.dropped()
    assert await closed(entries) == set()


@shared
async def test_a_request_cancelled_while_it_closes_leaves_nothing_closed(
    database: Database,
    entries: Entries,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = running[-1].store
    begun, may_go_on = asyncio.Event(), asyncio.Event()
    fence = store.fence

    async def slow_fence(*args: Any) -> None:
        begun.set()
        await may_go_on.wait()
        await fence(*args)

    monkeypatch.setattr(store, "fence", slow_fence)

    async def work() -> None:
        async with database.session() as session:
            await rename_by_id(session, user, user)

    task = asyncio.create_task(work())
    async with asyncio.timeout(60):
        await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=0.1)  # it may wait for its fence, or not
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        while await closed(entries):
            pass
    async with database.session(writes=False) as session:
        assert (await session.get_one(User, user.id)).first_name != "Renamed"


async def test_a_fence_that_cannot_be_put_up_does_not_stop_the_commit(
    database: Database,
    entries: Entries,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = running[-1].store

    async def refuse(*_: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr(store, "fence", refuse)
    async with database.session() as session:
        await rename_by_id(session, user, user)
    assert await entries.dropped() == profile_of(user)


async def test_a_commit_closes_once_and_renews_once_what_it_touches_and_else_nothing(
    database: Database,
    entries: Entries,
    user: Person,
    other: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = running[-1].store
    asked: list[str] = []
    for name in ("get_many", "put", "add_many", "fence", "renew"):
        operation = getattr(store, name)

        async def noted(
            *args: Any, name: str = name, operation: Any = operation
        ) -> Any:
            asked.append(name)
            return await operation(*args)

        monkeypatch.setattr(store, name, noted)
    async with database.session() as session:
        await use_by_keys(session, user, other)
        await rename_by_id(session, other, user)
        await rename_row(session, user, other)  # which the commit will flush
    assert asked == ["fence", "renew"]
    asked.clear()
    async with database.session() as session:
        await session.scalars(select(User))
    async with database.sessions() as session:
        await rename_row(session, user, other)
        await session.flush()
        await session.rollback()
        await session.commit()
    assert asked == []


async def test_a_process_without_the_service_opens_the_cache_once_for_a_commit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0

    async def count(settings: Settings) -> Any:
        nonlocal opened
        opened += 1
        return await open_once(settings)

    monkeypatch.setattr(setup, "open_once", count)
    database = Database(settings)
    async with database.session() as session:
        await session.scalars(select(User))
    assert opened == 0
    async with database.session() as session:
        session.add(
            User(email="a@example.com", first_name="", last_name="", password_hash="")
        )
    assert opened == 1
    await database.dispose()
