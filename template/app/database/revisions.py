"""Where the database is, and where its migrations lead."""

from collections.abc import Collection
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.database.engine import Database

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def head_revisions() -> tuple[str, ...]:
    """Return the newest migration; several only where branches were not merged."""
    return tuple(_scripts().get_heads())


async def current_revisions(database: Database) -> tuple[str, ...]:
    """Return the revision of the database; none before its first migration."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(_read)


def unknown_revisions(current: Collection[str]) -> list[str]:
    """Return the revisions that this code has no migration for: it is the older one."""
    known = {script.revision for script in _scripts().walk_revisions()}
    return [revision for revision in current if revision not in known]


def lacks_migrations(current: Collection[str]) -> bool:
    """Return whether a database at this revision has to be migrated."""
    return not set(head_revisions()) <= set(current) and not unknown_revisions(current)


def _read(connection: Connection) -> tuple[str, ...]:
    return tuple(MigrationContext.configure(connection).get_current_heads())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))
