"""Where the database is, where its migrations lead, and whether a service can start."""

import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Database
from app.errors import StartupError, reason
from app.logs import DATABASE

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


# Seconds that the database has to answer in when the service starts.
PATIENCE = 10.0


async def require_ready(database: Database) -> str:
    """Return the revision that the database is at.

    Raises StartupError when it is missing, read-only, silent or old.
    """
    if database.url.get_backend_name() == "sqlite":
        _require_file(database.url)
    with one_line_errors(database.url):
        await database.check(PATIENCE)
        current = await current_revisions(database)
    shown = database.url.render_as_string()
    if lacks_migrations(current):
        require_one_head()
        at = ", ".join(current) or "empty"
        raise StartupError(
            f"The database {shown} is behind on migrations ({at});"
            " run: api-admin db upgrade"
        )
    if unknown := unknown_revisions(current):
        DATABASE.warning(
            "the database is at revision %s, which this version does not know",
            ", ".join(unknown),
        )
    return ", ".join(current)


@contextmanager
def one_line_errors(url: URL) -> Iterator[None]:
    """Turn what a driver raises into a StartupError that names the database."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StartupError(
            f"The database {url.render_as_string()} cannot be used: {reason(error)}"
        ) from error


def _require_file(url: URL) -> None:
    file = Path(url.database or "")
    if not file.exists():
        raise StartupError(
            f"The database file {file} does not exist; run: api-admin db upgrade"
        )
    # SQLite keeps its journal beside the file.
    for path in (file, file.parent):
        if not os.access(path, os.W_OK):
            raise StartupError(f"The database cannot be written: {path} is read-only")
