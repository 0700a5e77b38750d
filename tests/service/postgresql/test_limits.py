import asyncio

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from app.config import Settings
from app.database import Database
from app.errors import reason
from tests.environment import settings_from


async def test_parameters_of_the_address_reach_the_server(database_url: str) -> None:
    query = "sslmode=prefer&application_name=shop&options=-c%20search_path%3Da"
    with settings_from(DATABASE_URL=f"{database_url}?{query}") as settings:
        database = Database(settings)
    async with database.session() as session:
        assert await session.scalar(text("SHOW application_name")) == "shop"
        assert await session.scalar(text("SHOW search_path")) == "a"
    await database.dispose()


async def test_a_slow_statement_is_given_up(settings: Settings) -> None:
    database = Database(settings.model_copy(update={"database_statement_timeout": 1.0}))
    with pytest.raises(OperationalError) as raised:
        async with database.session() as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    assert "DATABASE_STATEMENT_TIMEOUT" in reason(raised.value)

    async with database.session() as session:
        assert await session.scalar(text("SELECT 1")) == 1
    await database.dispose()


async def test_a_pooler_that_is_not_declared_is_named(settings: Settings) -> None:
    """Its next transaction is on a connection on which nothing was prepared."""
    database = Database(settings)
    async with database.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.execute(text("DEALLOCATE ALL"))
        with pytest.raises(OperationalError) as raised:
            await connection.execute(text("SELECT 1"))
    assert "set DATABASE_POOLER=true" in reason(raised.value)
    await database.dispose()


async def test_a_server_that_falls_silent_is_an_error_of_the_database(
    settings: Settings,
) -> None:
    url = make_url(settings.database_url)
    silent = asyncio.Event()

    async def pass_on(reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not silent.is_set():
                to.write(data)
        to.close()

    async def accept(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        server = await asyncio.open_connection(url.host, url.port)
        await asyncio.gather(pass_on(reader, server[1]), pass_on(server[0], writer))

    proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
    here = url.set(host="127.0.0.1", port=proxy.sockets[0].getsockname()[1])
    limits = {
        "database_url": here.render_as_string(hide_password=False),
        "database_statement_timeout": 1.0,
        "database_connect_timeout": 1.0,
    }
    database = Database(settings.model_copy(update=limits))
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
    silent.set()

    with pytest.raises(OperationalError):
        async with database.session() as session:
            await session.execute(text("SELECT 1"))

    proxy.close()
    await database.dispose()
