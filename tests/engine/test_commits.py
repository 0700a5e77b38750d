"""C3: a commit invalidates what its transaction changed, a rollback nothing."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.cache.engine.commits import Work
from app.cache.engine.exchange import running
from app.database import Database
from app.database.base import utc_now
from app.models import ApiKey, User
from tests.engine.each import CONFIGURED, on_one_storage
from tests.engine.entries import Entries
from tests.people import MakeKey, Person
from tests.servers.service import API_ADMIN

pytestmark = on_one_storage


Change = Callable[[AsyncSession, Person, Person], Awaitable[Any]]


def everything_of(person: Person) -> set[str]:
    return profile_of(person) | keys_of(person)


def profile_of(person: Person) -> set[str]:
    """Return what a change of the user's row touches."""
    of_user = {"user:{}", "users:{}:single", "principal:{}", "apikeys:{}"}
    return {"users:list"} | {name.format(person.id) for name in of_user}


def keys_of(person: Person) -> set[str]:
    """Return what a change of the user's keys touches."""
    return {f"apikeys:{person.id}", f"principal:{person.id}"}


@pytest.fixture
async def entries(user: Person, other: Person, make_key: MakeKey) -> Entries:
    """Return entries of two users, each of whom has an API key."""
    await make_key(user, name="the user's")
    await make_key(other, name="the other's")
    unrelated = {"products", f"user:{user.id}0", f"apikeys:{user.id}0"}
    entries = Entries(everything_of(user) | everything_of(other) | unrelated)
    await entries.store()
    return entries


async def rename_row(session: AsyncSession, user: Person, _: Person) -> None:
    row = await session.get_one(User, user.id)
    row.first_name = "Renamed"


async def rename_expired_row(session: AsyncSession, user: Person, _: Person) -> None:
    row = await session.get_one(User, user.id)
    session.expire(row)
    row.first_name = "Renamed"


async def rename_by_id(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(
        update(User).where(User.id == user.id).values(first_name="Renamed")
    )


async def rename_by_email(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(
        update(User).where(User.email == user.email).values({"first_name": "Renamed"})
    )


async def rename_by_subquery(session: AsyncSession, user: Person, _: Person) -> None:
    owners = select(ApiKey.user_id).where(ApiKey.name == "the user's")
    await session.execute(
        update(User).where(User.id.in_(owners)).values(first_name="Renamed")
    )


async def rename_by_join(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(
        update(User)
        .where(User.id == ApiKey.user_id, ApiKey.name == "the user's")
        .values(first_name="Renamed")
    )


async def rename_by_keys(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(update(User), [{"id": user.id, "first_name": "Renamed"}])


async def rename_in_table(session: AsyncSession, user: Person, _: Person) -> None:
    table = User.__table__
    await session.execute(
        update(table).where(table.c.id == user.id).values(first_name="Renamed")  # type: ignore[arg-type]  # mypy knows no more than FromClause
    )


async def rename_by_query(session: AsyncSession, user: Person, _: Person) -> None:
    await session.run_sync(
        lambda session: (
            session.query(User)
            .filter(User.id == user.id)
            .update({User.first_name: "Renamed"})
        )
    )


RENAMES: list[Change] = [
    rename_row,
    rename_expired_row,
    rename_by_id,
    rename_by_keys,
    rename_in_table,
    rename_by_query,
]
# What does not tell whose row it is invalidates those of all users.
RENAMES_OF_ANYBODY: list[Change] = [
    rename_by_email,
    rename_by_subquery,
    rename_by_join,
]


def profiles(user: Person, other: Person) -> set[str]:
    """Return what a change of the row of any user touches."""
    return (
        profile_of(user)
        | profile_of(other)
        | {f"user:{user.id}0", f"apikeys:{user.id}0"}
    )


@pytest.mark.parametrize("rename", RENAMES)
async def test_a_changed_user_is_invalidated_by_the_commit_and_no_other(
    rename: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.sessions() as session:
        await rename(session, user, other)
        await session.flush()
        assert await entries.dropped() == set()
        await session.commit()
    assert await entries.dropped() == profile_of(user)


@pytest.mark.parametrize("rename", RENAMES_OF_ANYBODY)
async def test_a_user_who_is_not_named_is_invalidated_with_all_users(
    rename: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.sessions() as session:
        await rename(session, user, other)
        await session.flush()
        assert await entries.dropped() == set()
        await session.commit()
    assert profile_of(user) <= await entries.dropped() <= profiles(user, other)


@pytest.mark.parametrize("rename", RENAMES + RENAMES_OF_ANYBODY)
async def test_a_rolled_back_change_keeps_the_hits(
    rename: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.sessions() as session:
        await rename(session, user, other)
        await session.flush()
        await session.rollback()
        await session.execute(select(User.id))
        await session.commit()
    assert await entries.dropped() == set()


async def test_a_change_that_is_closed_without_a_commit_keeps_the_hits(
    database: Database, entries: Entries, user: Person
) -> None:
    session = database.sessions()
    await rename_by_id(session, user, user)
    await session.close()
    await session.execute(select(User.id))
    await session.commit()
    await session.close()
    assert await entries.dropped() == set()


async def delete_row(session: AsyncSession, user: Person, _: Person) -> None:
    await session.delete(await session.get_one(User, user.id))


async def delete_expired_row(session: AsyncSession, user: Person, _: Person) -> None:
    row = await session.get_one(User, user.id)
    session.expire(row)
    await session.delete(row)


async def delete_by_email(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(delete(User).where(User.email == user.email))


async def delete_by_id(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(delete(User).where(User.id == user.id))


@pytest.mark.parametrize("remove", [delete_row, delete_expired_row, delete_by_id])
async def test_a_deleted_user_is_invalidated_with_what_the_database_cascades_to(
    remove: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    """Whose keys the database deletes with the user, nobody looks up."""
    async with database.session() as session:
        await remove(session, user, other)
    keys = keys_of(user) | keys_of(other) | {f"apikeys:{user.id}0"}
    assert await entries.dropped() == profile_of(user) | keys


async def test_a_deleted_user_who_is_not_named_is_invalidated_with_all_users(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await delete_by_email(session, user, other)
    dropped = await entries.dropped()
    assert everything_of(user) <= dropped
    assert "products" not in dropped


def new_key(owner: Person) -> dict[str, Any]:
    return {
        "user_id": owner.id,
        "name": "new",
        "prefix": f"prefix{owner.id}",
        "key_hash": "0" * 64,
        "scopes": [],
    }


async def add_row(session: AsyncSession, user: Person, _: Person) -> None:
    session.add(ApiKey(**new_key(user)))


async def insert_row(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(insert(ApiKey), [new_key(user)])


async def insert_values(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(insert(ApiKey).values(**new_key(user)))


@pytest.mark.parametrize("add", [add_row, insert_row, insert_values])
async def test_a_new_key_is_invalidated_for_its_owner(
    add: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await add(session, user, other)
    assert await entries.dropped() == keys_of(user)


async def test_an_insert_that_does_not_tell_the_owner_is_invalidated_for_all(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await session.execute(insert(ApiKey).values([new_key(user), new_key(other)]))
    assert keys_of(user) | keys_of(other) <= await entries.dropped()


async def move_row(session: AsyncSession, user: Person, other: Person) -> None:
    query = select(ApiKey).where(ApiKey.user_id == user.id)
    key = (await session.scalars(query)).one()
    key.user_id = other.id


async def move_in_bulk(session: AsyncSession, user: Person, other: Person) -> None:
    await session.execute(
        update(ApiKey).where(ApiKey.user_id == user.id).values(user_id=other.id)
    )


async def move_by_keys(session: AsyncSession, user: Person, other: Person) -> None:
    query = select(ApiKey.id).where(ApiKey.user_id == user.id)
    key_id = await session.scalar(query)
    await session.execute(update(ApiKey), [{"id": key_id, "user_id": other.id}])


async def test_a_key_that_moves_is_invalidated_for_its_old_owner_and_its_new_one(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await move_in_bulk(session, user, other)
    assert await entries.dropped() == keys_of(user) | keys_of(other)


async def move_unknown(session: AsyncSession, user: Person, other: Person) -> None:
    key = (await session.scalars(select(ApiKey).filter_by(user_id=user.id))).one()
    session.expire(key)
    key.user_id = other.id


async def move_to_what_only_the_database_knows(
    session: AsyncSession, user: Person, other: Person
) -> None:
    newest = select(User.id).where(User.email == other.email).scalar_subquery()
    await session.execute(
        update(ApiKey).where(ApiKey.user_id == user.id).values(user_id=newest)
    )


@pytest.mark.parametrize(
    "move",
    [move_row, move_unknown, move_to_what_only_the_database_knows, move_by_keys],
)
async def test_a_key_that_moves_from_or_to_an_unknown_owner_is_invalidated_for_all(
    move: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await move(session, user, other)
    dropped = await entries.dropped()
    assert dropped >= keys_of(user) | keys_of(other)
    assert not dropped & {"users:list", f"user:{user.id}", "products"}


async def use_row(session: AsyncSession, user: Person, _: Person) -> None:
    key = (await session.scalars(select(ApiKey).filter_by(user_id=user.id))).one()
    key.last_used_at = utc_now()


async def use_in_bulk(session: AsyncSession, user: Person, _: Person) -> None:
    await session.execute(
        update(ApiKey).where(ApiKey.user_id == user.id).values(last_used_at=utc_now())
    )


async def use_by_keys(session: AsyncSession, user: Person, _: Person) -> None:
    query = select(ApiKey.id).where(ApiKey.user_id == user.id)
    used = {"id": await session.scalar(query), "last_used_at": utc_now()}
    await session.execute(update(ApiKey), [used])


async def test_a_change_of_nothing_but_ignored_columns_is_ignored(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await use_in_bulk(session, user, other)
    assert await entries.dropped() == {f"apikeys:{user.id}"}


@pytest.mark.parametrize("use", [use_row, use_by_keys])
async def test_a_key_that_is_used_but_not_whose_invalidates_the_keys_of_all(
    use: Change, database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await use(session, user, other)
    keys = {f"apikeys:{number}" for number in (user.id, other.id, f"{user.id}0")}
    assert await entries.dropped() == keys


async def test_a_begin_block_invalidates_at_its_end(
    database: Database, entries: Entries, user: Person
) -> None:
    async with database.sessions.begin() as session:
        await rename_row(session, user, user)
    assert await entries.dropped() == profile_of(user)


async def test_each_commit_of_a_session_invalidates_its_own_changes(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.sessions() as session:
        await rename_row(session, user, other)
        await session.commit()
        assert await entries.dropped() == profile_of(user)
        await rename_row(session, other, user)
        await session.commit()
        assert await entries.dropped() == profile_of(other)
        await session.commit()
        assert await entries.dropped() == set()


async def test_a_released_savepoint_is_invalidated_by_the_commit(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        async with session.begin_nested():
            await rename_row(session, user, other)
            async with session.begin_nested():
                await rename_by_id(session, other, user)
        assert await entries.dropped() == set()
    assert await entries.dropped() == profile_of(user) | profile_of(other)


async def test_what_came_before_a_rolled_back_savepoint_is_invalidated(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await rename_by_id(session, other, user)
        savepoint = await session.begin_nested()
        async with session.begin_nested():
            await rename_by_id(session, user, other)
        await savepoint.rollback()
    assert await entries.dropped() == profile_of(user) | profile_of(other)


async def test_a_flush_that_fails_in_a_savepoint_takes_nothing_else_back(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.session() as session:
        await rename_by_id(session, user, other)
        savepoint = await session.begin_nested()
        row = await session.get_one(User, other.id)
        row.email = user.email
        with pytest.raises(IntegrityError):
            await session.flush()
        await savepoint.rollback()
    assert await entries.dropped() == profile_of(user) | profile_of(other)


async def test_a_commit_whose_flush_fails_keeps_the_hits(
    database: Database, entries: Entries, user: Person, other: Person
) -> None:
    async with database.sessions() as session:
        await rename_by_id(session, user, other)
        row = await session.get_one(User, other.id)
        row.email = user.email
        with pytest.raises(IntegrityError):
            await session.commit()
    assert await entries.dropped() == set()


async def test_a_request_cancelled_during_its_commit_is_invalidated_all_the_same(
    database: Database, entries: Entries, user: Person
) -> None:
    async def work() -> None:
        async with database.session() as session:
            await rename_by_id(session, user, user)

            @event.listens_for(session.sync_session.connection(), "commit")
            def cancel(_: Connection) -> None:
                task.cancel()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await entries.dropped() == profile_of(user)


async def test_a_request_cancelled_during_its_invalidation_is_invalidated_all_the_same(
    database: Database,
    entries: Entries,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = running[-1]
    begun, may_go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    invalidate = cache.invalidate

    async def slow_invalidate(*args: Any) -> None:
        begun.set()
        await may_go_on.wait()
        await invalidate(*args)
        ended.set()

    monkeypatch.setattr(cache, "invalidate", slow_invalidate)

    async def work() -> None:
        async with database.session() as session:
            await rename_by_id(session, user, user)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_go_on.set()
    async with asyncio.timeout(60):
        await ended.wait()
    assert await entries.dropped() == profile_of(user)


@pytest.mark.parametrize("storage", [CONFIGURED], indirect=True)
async def test_a_command_invalidates_the_cache_of_the_running_service(
    entries: Entries, user: Person
) -> None:
    command = [str(API_ADMIN), "user", "ban", user.email]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    assert profile_of(user) <= await entries.dropped()


def test_very_many_namespaces_become_those_that_they_have_in_common() -> None:
    work = Work()
    work.touch([f"docs:{number}" for number in range(500)], "INSERT docs")
    assert len(work.changes()) == 500
    work.touch(["docs:500", "shelves:1"], "INSERT docs")
    assert work.changes() == {"docs", "shelves"}
    work.touch([f"no{number}" for number in range(500)], "a test")
    assert work.changes() == {""}
    work.end()
