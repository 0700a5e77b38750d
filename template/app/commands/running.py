"""What a command needs of the service: its settings, its database, a session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from app.commands.refusals import Refused

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.config import Settings

Result = TypeVar("Result")


@contextmanager
def ready_database(settings: Settings) -> Iterator[None]:
    """Have the database there and migrated.

    An embedded database and a development server are brought up to date here; any other
    one that is behind stops the command, because migrating it is a decision.
    """
    from app.database import migrate
    from app.database.local import prepare_local_database
    from app.database.revisions import require_one_head

    with prepare_local_database(settings):
        if migrate.is_behind(settings):
            require_one_head()
            if not _is_local(settings):
                raise Refused(
                    "The database is behind on migrations: run: api-admin db upgrade"
                )
            migrate.upgrade(settings)
        yield


def settings_for_people() -> Settings:
    """Return the settings for an application whose log a person reads: it is text."""
    from app.config import get_settings

    return get_settings().model_copy(update={"log_format": "text"})


def in_session(work: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
    """Run `work` in one transaction on the service's database and return its result.

    The transaction is committed when `work` returns, rolled back when it raises. The
    commit invalidates what it changed in the cache of a service that is running.
    """
    from app.config import get_settings
    from app.database import Database

    settings = get_settings()
    database = Database(settings)

    async def run() -> Result:
        try:
            async with database.session() as session:
                return await work(session)
        finally:
            await database.dispose()

    with ready_database(settings):
        return asyncio.run(run())


def _is_local(settings: Settings) -> bool:
    from sqlalchemy import make_url

    url = make_url(settings.database_url)
    return url.get_backend_name() == "sqlite" or (
        settings.environment == "development"
        and url.host in {"localhost", "127.0.0.1", "::1"}
    )
