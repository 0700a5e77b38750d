"""What Alembic runs, for `api-admin db`, for `alembic` and for the tests."""

import asyncio
from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, Table, event, text
from sqlalchemy.types import TypeDecorator

from app import models
from app.cache import watch_commits
from app.config import Settings, get_settings
from app.database.engine import migration_engine

METADATA = models.User.metadata
# Any number will do: whoever migrates this PostgreSQL database waits for the same one.
LOCK = 5_202_601


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction, alone, and all of them or none."""
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        compare_type=True,
        render_as_batch=True,
        render_item=render_type,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        context.run_migrations()
        if connection.dialect.name == "sqlite":
            require_valid_references(connection)


def keep_autoincrement(table: Table, connection: Connection, **_: object) -> None:
    """Let the copy of a table never give an id twice, if the table does not."""
    name = table.name.removeprefix("_alembic_tmp_")
    if name != table.name:
        query = text("SELECT sql FROM sqlite_master WHERE name = :name")
        statement: str = connection.execute(query, {"name": name}).scalar_one()
        table.dialect_options["sqlite"]["autoincrement"] = "AUTOINCREMENT" in statement


def require_valid_references(connection: Connection) -> None:
    """SQLite enforces no foreign keys while tables are rebuilt, so look afterwards."""
    broken = connection.execute(text("PRAGMA foreign_key_check")).first()
    if broken is not None:
        raise ValueError(f"row {broken[1]} of {broken[0]} refers to nothing")


def render_type(
    kind: str, item: object, _context: AutogenContext
) -> str | Literal[False]:
    """Write our own types as what they are in the database.

    A migration has to stay as it was, whatever becomes of the code.
    """
    if kind == "type" and isinstance(item, TypeDecorator) and is_ours(item):
        return f"sa.{item.impl_instance!r}"
    return False


def is_ours(item: object) -> bool:
    return type(item).__module__.startswith("app.")


def write_sql(url: str) -> None:
    """`alembic upgrade head --sql`: print the statements instead of running them."""
    context.configure(url=url, target_metadata=METADATA, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_migrate(settings: Settings) -> None:
    engine = migration_engine(settings)
    watch_commits(engine, METADATA, settings, by="migration")
    event.listen(Table, "before_create", keep_autoincrement)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
    finally:
        event.remove(Table, "before_create", keep_autoincrement)
        await engine.dispose()


settings = context.config.attributes.get("settings") or get_settings()
if context.is_offline_mode():
    write_sql(settings.database_url)
else:
    asyncio.run(connect_and_migrate(settings))
