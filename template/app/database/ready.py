"""Whether the service can start on its database; if not, why, in one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from app.database.engine import Database
from app.database.revisions import (
    current_revisions,
    lacks_migrations,
    require_one_head,
    unknown_revisions,
)
from app.errors import StartupError, reason
from app.logs import DATABASE

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
