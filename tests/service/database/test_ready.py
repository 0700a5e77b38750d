"""A database on which the service cannot work is named in one line."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.config import Settings
from app.database import Database
from app.database.migrate import require_ready
from app.errors import StartupError


@pytest.fixture
async def closed(settings: Settings) -> AsyncIterator[Database]:
    """Yield the database of the settings, without an application."""
    database = Database(settings)
    yield database
    await database.dispose()


async def refusal(database: Database) -> str:
    with pytest.raises(StartupError) as refused:
        await require_ready(database)
    (line,) = str(refused.value).splitlines()
    return line


async def test_a_migrated_database_is_ready(closed: Database) -> None:
    await require_ready(closed)


async def test_an_older_database_is_not(closed: Database) -> None:
    async with closed.session() as session:
        await session.execute(text("DELETE FROM alembic_version"))

    line = await refusal(closed)

    assert "is behind on migrations (empty); run: api-admin db upgrade" in line


async def test_a_newer_database_is_used_with_a_warning(
    closed: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with closed.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = 'newer'"))

    await require_ready(closed)

    assert "newer" in caplog.text


async def test_a_database_that_is_away_is_named_without_its_password(
    settings: Settings, unreachable_database_url: str
) -> None:
    url = {"database_url": unreachable_database_url}
    database = Database(settings.model_copy(update=url))

    line = await refusal(database)

    assert str(database.url.database) in line
    assert database.url.password is None or database.url.password not in line
    await database.dispose()
