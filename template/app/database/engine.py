"""The engine and its sessions, for a request, a command or a script."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection

from app.cache import watch_commits
from app.config.settings import Settings
from app.database.base import Base
from app.errors import StartupError

# What PostgreSQL says of a prepared statement that is not there, or is there twice.
_NOT_PREPARED = ("26000", "42P05")
_POOLER = (
    "a prepared statement is another connection's: if a pooler such as PgBouncer is in"
    " front of the server, set DATABASE_POOLER=true"
)


class Database:
    """The engine, which connects when it is first used, and its sessions."""

    def __init__(self, settings: Settings) -> None:
        self.url = make_url(settings.database_url)
        arguments = settings.database_arguments()
        # Without `max_overflow` up to 10 more would be opened.
        self.engine = _create_engine(
            self.url,
            arguments,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=settings.database_pool_timeout,
        )
        watch_commits(self.engine, Base.metadata, settings)
        self.engines = [self.engine]
        self._writer = self.engine
        if self.url.get_backend_name() == "sqlite":
            # SQLite has one writer at a time. Ours queue for one connection, in order;
            # a transaction that read first and wrote later would fail instead, when
            # another one wrote between.
            writer = _create_engine(self.url, arguments, pool_size=1, max_overflow=0)
            watch_commits(writer, Base.metadata, settings)
            self.engines.append(writer)
            self._writer = writer.execution_options(sqlite_begin="BEGIN IMMEDIATE")
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine, expire_on_commit=False
        )

    @asynccontextmanager
    async def session(self, *, writes: bool = True) -> AsyncIterator[AsyncSession]:
        """Yield a session; commit it at the end, or roll it back after an error.

        With `writes`, the first statement waits on SQLite for the other writers, and
        they wait for its commit or rollback: do nothing slow between the two.
        """
        bind = self._writer if writes else self.engine
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
        await self._writer.dispose()


def migration_engine(settings: Settings) -> AsyncEngine:
    """Return an engine for one connection, on which no foreign key is enforced.

    To change a table, SQLite's migrations copy it and drop the first one; with foreign
    keys on, that would delete the rows which refer to it.
    """
    url = make_url(settings.database_url)
    arguments = settings.database_arguments(limited=False)
    engine = create_async_engine(
        _without_parameters(url), poolclass=NullPool, connect_args=arguments
    )
    engine = engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")
    if engine.dialect.name == "sqlite":
        _begin_transactions(engine.sync_engine)
    return engine


def _create_engine(url: URL, arguments: dict[str, Any], **options: Any) -> AsyncEngine:
    sqlite = url.get_backend_name() == "sqlite"
    try:
        # Parameters hold e-mail addresses and password hashes: never log them.
        engine = create_async_engine(
            _without_parameters(url),
            hide_parameters=True,
            pool_pre_ping=not sqlite,
            connect_args=arguments,
            **options,
        )
    except ModuleNotFoundError as error:
        raise StartupError(
            f"DATABASE_URL={url.render_as_string()} needs the package {error.name};"
            f" add it with: api-admin update -d database={url.get_backend_name()}"
        ) from None
    if sqlite:
        _begin_transactions(engine.sync_engine)
        event.listen(engine.sync_engine, "connect", _set_pragmas)
    else:
        _limit_silence(engine.sync_engine)
    event.listen(engine.sync_engine, "do_connect", _connect)
    return engine


def _without_parameters(url: URL) -> URL:
    """Return the address alone: PostgreSQL's parameters are the driver's arguments."""
    return url if url.get_backend_name() == "sqlite" else url.set(query={})


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


def _limit_silence(engine: Engine) -> None:
    """Make SQLAlchemy's errors of the driver's timeouts, which it does not translate.

    Who does not answer is not asked for a rollback: the connection is closed.
    """
    dialect = engine.dialect
    ping = dialect.do_ping

    def answers(connection: DBAPIConnection) -> bool:
        try:
            return ping(connection)
        except TimeoutError as error:
            raise dialect.loaded_dbapi.OperationalError("no answer in time") from error

    dialect.do_ping = answers  # type: ignore[assignment]  # there is no event for it

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> OperationalError | None:
        error = context.original_exception
        if getattr(error, "sqlstate", None) in _NOT_PREPARED:
            return OperationalError(None, None, Exception(_POOLER))
        if not isinstance(error, TimeoutError):
            return None
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
        slow = TimeoutError("no answer in DATABASE_STATEMENT_TIMEOUT")
        return OperationalError(context.statement, None, slow, hide_parameters=True)


def _begin_transactions(engine: Engine) -> None:
    """Let SQLAlchemy begin SQLite's transactions; the driver would do so too late."""

    @event.listens_for(engine, "connect")
    def no_implicit_begin(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        adapted: Any = connection.connection.dbapi_connection
        if adapted.driver_connection.in_transaction:
            # A listener has raised in place of the COMMIT.
            connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql(options.get("sqlite_begin", "BEGIN"))

    dialect = engine.dialect
    commit = dialect.do_commit

    def commit_or_roll_back(connection: PoolProxiedConnection) -> None:
        try:
            commit(connection)
        except dialect.loaded_dbapi.Error:
            connection.rollback()  # SQLite would keep everybody else from writing
            raise

    dialect.do_commit = commit_or_roll_back  # type: ignore[assignment]  # as above


def _set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Wait up to 5 s for a writer in another process. When the power fails, the last
    # commits may be lost, but the file is never broken.
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
