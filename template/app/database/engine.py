"""The engine and its sessions, for a request, a command or a script."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.cache import watch_commits
from app.config.settings import Settings
from app.errors import StartupError


class Database:
    """One engine, which connects when it is first used, and its sessions."""

    def __init__(self, settings: Settings) -> None:
        self.url = make_url(settings.database_url)
        self.engine = _create_engine(settings)
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine, expire_on_commit=False
        )
        self._writing = self.engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        watch_commits(self.sessions)

    @asynccontextmanager
    async def session(self, *, writes: bool = True) -> AsyncIterator[AsyncSession]:
        """Yield a session; commit it at the end, or roll it back after an error.

        SQLite has one writer at a time. A transaction that reads first and writes later
        fails when another one wrote between; with `writes` it waits for its turn.
        """
        bind = self._writing if writes else self.engine
        async with self.sessions(bind=bind) as session:
            yield session
            await session.commit()

    async def check(self, timeout: float) -> float:  # noqa: ASYNC109 - in seconds
        """Return how many seconds the database took to answer.

        Raises TimeoutError or SQLAlchemyError when it does not.
        """
        start = time.perf_counter()
        async with asyncio.timeout(timeout), self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return time.perf_counter() - start

    async def dispose(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def migration_engine(url: str) -> AsyncEngine:
    """Return an engine for one connection, on which no foreign key is enforced.

    To change a table, SQLite's migrations copy it and drop the first one; with foreign
    keys on, that would delete the rows which refer to it.
    """
    engine = create_async_engine(url, poolclass=NullPool)
    engine = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
    if engine.dialect.name == "sqlite":
        _begin_transactions(engine.sync_engine)
    return engine


def _create_engine(settings: Settings) -> AsyncEngine:
    url = make_url(settings.database_url)
    options: dict[str, Any] = {"pool_size": settings.database_pool_size}
    if url.get_backend_name() != "sqlite":
        options |= {"pool_pre_ping": True, "connect_args": {"timeout": 5}}
    elif url.database == ":memory:":
        options = {}
    try:
        # Parameters hold e-mail addresses and password hashes: never log them.
        engine = create_async_engine(url, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise StartupError(
            f"DATABASE_URL={url.render_as_string()} needs the package {error.name};"
            f" add it with: uv add {error.name}"
        ) from None
    if url.get_backend_name() == "sqlite":
        _begin_transactions(engine.sync_engine)
        event.listen(engine.sync_engine, "connect", _set_pragmas)
    event.listen(engine.sync_engine, "do_connect", _connect)
    return engine


def _connect(
    dialect: Dialect,
    _: ConnectionPoolEntry,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> DBAPIConnection:
    """Make one error of all the ways in which a connection can fail.

    Drivers raise plain OSErrors too, which SQLAlchemy does not translate.
    """
    try:
        return dialect.connect(*arguments, **options)
    except (OSError, dialect.loaded_dbapi.Error) as error:
        raise OperationalError(None, None, error) from error


def _begin_transactions(engine: Engine) -> None:
    """Let SQLAlchemy begin SQLite's transactions; the driver would do so too late."""

    @event.listens_for(engine, "connect")
    def no_implicit_begin(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))


def _set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Wait up to 5 s for another writer; a crash of the machine, not of the process, may
    # undo the last commits, but never breaks the file.
    for pragma in (
        "busy_timeout=5000",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    # Its own `lower` knows ASCII only, so a search would tell É from é.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
