"""When API keys were last used: noted in memory, written once a minute.

A request with a key must not cost a write, and one that the cache answers no query.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from fastapi import FastAPI
from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.errors import reason
from app.logs import DATABASE
from app.models.api_key import ApiKey

INTERVAL = 60.0
"""Seconds between two writes."""

LIMIT = 10_000
"""How many keys are noted between two writes; more are left out."""


class LastUse:
    """The uses that are not written yet, by user and key."""

    def __init__(self) -> None:
        self._noted: dict[tuple[int, int], datetime] = {}

    def note(self, user_id: int, key_id: int, moment: datetime) -> None:
        """Remember a use of a user's key."""
        if (user_id, key_id) in self._noted or len(self._noted) < LIMIT:
            self._noted[user_id, key_id] = moment

    async def flush(self, database: Database) -> None:
        """Write what is noted; what fails to be written stays noted."""
        noted, self._noted = self._noted, {}
        try:
            while noted:
                key = next(iter(noted))
                await _write(database, *key, noted[key])
                del noted[key]
        except (SQLAlchemyError, OSError) as error:
            DATABASE.warning("last uses of API keys not written: %s", reason(error))
        finally:
            self._noted = noted | self._noted


@asynccontextmanager
async def last_use_recorder(app: FastAPI) -> AsyncIterator[None]:
    """Write the uses of API keys while the application runs, and when it ends."""
    last_use: LastUse = app.state.last_use
    database: Database = app.state.database
    task = asyncio.create_task(_flush_for_ever(last_use, database))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await last_use.flush(database)


async def _write(
    database: Database, user_id: int, key_id: int, moment: datetime
) -> None:
    """In a transaction of its own, which can neither hold up nor deadlock another."""
    # Another process may have written a later use.
    earlier = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < moment)
    async with database.session() as session:
        await session.execute(
            update(ApiKey)
            # The user, too: so the cache knows whose keys this is about.
            .where(ApiKey.id == key_id, ApiKey.user_id == user_id, earlier)
            .values(last_used_at=moment)
            .execution_options(synchronize_session=False)
        )


async def _flush_for_ever(last_use: LastUse, database: Database) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        await last_use.flush(database)
