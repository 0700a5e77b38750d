"""Where the database is, and where its migrations lead."""

import warnings
from collections.abc import Collection
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.database.engine import Database
from app.errors import StartupError

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def head_revisions() -> tuple[str, ...]:
    """Return the newest migration; several only where branches were not merged."""
    return tuple(sorted(_scripts().get_heads()))


def require_one_head() -> None:
    """Raise StartupError where migrations that follow the same one were not merged.

    So it is when an update of the template and the owner have each added one.
    """
    heads = sorted(
        f"{script.revision} ({Path(script.path).name})"
        for script in _scripts().get_revisions("heads")
    )
    if len(heads) > 1:
        raise StartupError(
            f"{len(heads)} migrations are the newest, {' and '.join(heads)};"
            " join them with: api-admin db merge"
        )


async def current_revisions(database: Database) -> tuple[str, ...]:
    """Return the revision of the database; none before its first migration."""
    async with database.engine.connect() as connection:
        return await connection.run_sync(_read)


def unknown_revisions(current: Collection[str]) -> list[str]:
    """Return the revisions that this code has no migration for: it is the older one."""
    known = {script.revision for script in _scripts().walk_revisions()}
    return [revision for revision in current if revision not in known]


def require_known(current: Collection[str]) -> None:
    """Raise StartupError where this code has no migration for the database's revision.

    So it is after a change to an older version, or to another branch.
    """
    if unknown := unknown_revisions(current):
        raise StartupError(
            f"The database is at revision {', '.join(unknown)}, which no file in"
            " app/migrations/versions has. Go on with the code that brought it there"
            " (git pull, or its branch), or let that code take it back:"
            " api-admin db downgrade"
        )


def lacks_migrations(current: Collection[str]) -> bool:
    """Return whether a database at this revision has to be migrated."""
    return not set(head_revisions()) <= set(current) and not unknown_revisions(current)


def _read(connection: Connection) -> tuple[str, ...]:
    return tuple(MigrationContext.configure(connection).get_current_heads())


def _scripts() -> ScriptDirectory:
    scripts = ScriptDirectory(str(MIGRATIONS))
    # Alembic only warns, and goes on with some of the migrations.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Revision .* is (present more|not present)")
        try:
            scripts.get_heads()
        except UserWarning as warning:
            raise StartupError(f"{MIGRATIONS}: {warning}") from warning
    return scripts
