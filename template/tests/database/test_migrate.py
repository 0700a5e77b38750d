"""Migrations go up and down, all or nothing, and lose no rows."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app.config import Settings
from app.database import Base, Database, migrate, revisions
from app.errors import StartupError
from app.models import AuthSession, User
from tests.environment import settings_from

HEAD = revisions.head_revisions()[0]

REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{head}"


def upgrade() -> None:
    {statements}


def downgrade() -> None:
    pass
"""


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Settings]:
    """Yield the settings of a database without tables."""
    with settings_from(DATABASE_URL=empty_database_url) as settings:
        yield settings


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the folder of the migrations, which is used instead of it."""
    copy = tmp_path / "migrations"
    shutil.copytree(revisions.MIGRATIONS, copy)
    for module in (revisions, migrate):
        monkeypatch.setattr(module, "MIGRATIONS", copy)
    return copy


def add_revision(migrations: Path, statements: str) -> None:
    source = REVISION.format(head=HEAD, statements=statements)
    (migrations / "versions" / "next.py").write_text(source)


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


def test_all_the_way_up_down_and_up(empty: Settings) -> None:
    assert migrate.current(empty) == ()
    assert migrate.is_behind(empty)
    migrate.upgrade(empty)
    assert migrate.current(empty) == (HEAD,)
    assert not migrate.is_behind(empty)
    migrate.downgrade(empty, "base")
    assert migrate.current(empty) == ()
    migrate.upgrade(empty)
    assert not migrate.has_drift(empty)


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
