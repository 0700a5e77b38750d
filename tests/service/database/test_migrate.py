"""Migrations go up and down, all or nothing, and lose no rows."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select, text

from app.config import Settings
from app.database import Base, Database, migrate
from app.database.migrate import require_ready
from app.errors import StartupError
from app.models import AuthSession, User
from tests.environment import settings_from
from tests.service.migrations import HEAD, add_revision, add_table


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Settings]:
    """Yield the settings of a database without tables."""
    with settings_from(DATABASE_URL=empty_database_url) as settings:
        yield settings


async def rows(settings: Settings, model: type[Base]) -> int:
    database = Database(settings)
    try:
        async with database.session(writes=False) as session:
            query = select(func.count()).select_from(model)
            return await session.scalar(query) or 0
    finally:
        await database.dispose()


async def add_user_and_delete_him(settings: Settings) -> int:
    database = Database(settings)
    try:
        async with database.session() as session:
            user = User(
                email="ada@example.com",
                first_name="Ada",
                last_name="Lovelace",
                password_hash="-",
            )
            session.add(user)
            await session.flush()
            await session.delete(user)
            return user.id
    finally:
        await database.dispose()


def test_the_models_say_what_the_migrations_made(settings: Settings) -> None:
    assert not migrate.has_drift(settings)
    assert migrate.make_revision(settings, "nothing to do") == []


def test_an_unknown_revision_is_refused_in_one_line(settings: Settings) -> None:
    with pytest.raises(StartupError, match="Can't locate revision") as refused:
        migrate.upgrade(settings, "nonsense")
    assert len(str(refused.value).splitlines()) == 1


def test_a_migration_that_fails_leaves_nothing_behind(
    settings: Settings, migrations: Path
) -> None:
    add_revision(
        migrations,
        'op.create_table("things", sa.Column("id", sa.Integer()))\n'
        '    op.execute("SELECT * FROM no_such_table")',
    )
    for _ in range(2):  # the second would say "things" exists
        with pytest.raises(StartupError, match="no_such_table"):
            migrate.upgrade(settings)
    assert migrate.current(settings) == (HEAD,)


async def test_changing_a_table_keeps_the_rows_that_refer_to_it(
    settings: Settings, migrations: Path
) -> None:
    database = Database(settings)
    async with database.session() as session:
        await session.execute(
            text(
                "INSERT INTO users (id, email, first_name, last_name, password_hash,"
                " role, banned, created_at, updated_at) VALUES (7, 'a@example.com',"
                " 'A', 'B', '-', 'user', false, '2026-01-01', '2026-01-01')"
            )
        )
        await session.execute(
            text(
                "INSERT INTO auth_sessions (id, user_id, refresh_jti, expires_at,"
                " created_at) VALUES ('a', 7, 'b', '2026-01-01', '2026-01-01')"
            )
        )
    await database.dispose()
    # SQLite cannot do this: Alembic copies the table and drops the first one.
    add_revision(
        migrations,
        'with op.batch_alter_table("users") as batch:\n'
        '        batch.alter_column("first_name", type_=sa.String(200))',
    )

    await asyncio.to_thread(migrate.upgrade, settings)

    assert await rows(settings, User) == 1
    assert await rows(settings, AuthSession) == 1


async def test_a_table_that_was_changed_still_gives_no_id_twice(
    settings: Settings, migrations: Path
) -> None:
    add_revision(
        migrations,
        'with op.batch_alter_table("users") as batch:\n'
        '        batch.alter_column("first_name", type_=sa.String(200))',
    )
    await asyncio.to_thread(migrate.upgrade, settings)

    first = await add_user_and_delete_him(settings)
    second = await add_user_and_delete_him(settings)

    assert first < second


class TestTwoNewest:
    """An update brought a migration that follows the same one as the owner's."""

    @pytest.fixture(autouse=True)
    def two(self, migrations: Path) -> None:
        for name in ("ours", "theirs"):
            add_table(migrations, name)

    @pytest.mark.parametrize("at", ["base", HEAD, "ours", "theirs"])
    def test_are_joined_wherever_the_database_is(
        self, empty: Settings, at: str
    ) -> None:
        if at != "base":
            migrate.upgrade(empty, at)
        before = migrate.current(empty)

        with pytest.raises(StartupError) as refused:
            migrate.upgrade(empty)
        assert str(refused.value) == (
            "2 migrations are the newest, ours (ours.py) and theirs (theirs.py);"
            " join them with: api-admin db merge"
        )
        assert migrate.current(empty) == before

        assert migrate.merge(empty, "join") is not None
        migrate.upgrade(empty)
        assert {"users", "ours", "theirs"} <= asyncio.run(tables(empty))
        assert not migrate.is_behind(empty)
        assert migrate.merge(empty, "join") is None

        migrate.downgrade(empty, HEAD)
        assert migrate.current(empty) == (HEAD,)
        assert not {"ours", "theirs"} & asyncio.run(tables(empty))

    @pytest.mark.parametrize("at", [HEAD, "ours", "theirs"])
    async def test_keep_the_service_from_starting_until_both_are_there(
        self, settings: Settings, at: str
    ) -> None:
        database = Database(settings)
        await asyncio.to_thread(migrate.upgrade, settings, at)
        with pytest.raises(StartupError, match="api-admin db merge"):
            await require_ready(database)

        await asyncio.to_thread(migrate.upgrade, settings, "heads")
        await require_ready(database)

        await asyncio.to_thread(migrate.merge, settings, "join")
        with pytest.raises(StartupError, match="api-admin db upgrade"):
            await require_ready(database)
        await database.dispose()

    def test_take_no_third_one(self, settings: Settings) -> None:
        with pytest.raises(StartupError, match="api-admin db merge"):
            migrate.make_revision(settings, "another", empty=True)

    def test_are_joined_in_a_file_that_needs_no_change(
        self, settings: Settings
    ) -> None:
        file = migrate.merge(settings, "join them")

        assert file is not None
        assert file.name.endswith("_join_them.py")
        assert "import" not in file.read_text()

    def test_leave_more_than_one_way_back(self, settings: Settings) -> None:
        migrate.merge(settings, "join")
        migrate.upgrade(settings)

        with pytest.raises(StartupError, match="name the revision to go back to"):
            migrate.downgrade(settings, "-1")


class TestMigrationsThatDoNotFit:
    """Alembic only warns, and runs what is left."""

    def test_two_of_one_name(self, settings: Settings, migrations: Path) -> None:
        add_revision(migrations, "pass")
        shutil.copy(migrations / "versions/next.py", migrations / "versions/again.py")

        with pytest.raises(StartupError, match="next is present more than once"):
            migrate.upgrade(settings)
        assert migrate.current(settings) == (HEAD,)

    async def test_one_that_follows_none(
        self, settings: Settings, migrations: Path
    ) -> None:
        add_revision(migrations, "pass", after="gone")

        database = Database(settings)
        with pytest.raises(StartupError, match=r"gone referenced from .* not present"):
            await require_ready(database)
        await database.dispose()


async def tables(settings: Settings) -> set[str]:
    database = Database(settings)
    try:
        async with database.engine.connect() as connection:
            return set(
                await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            )
    finally:
        await database.dispose()
