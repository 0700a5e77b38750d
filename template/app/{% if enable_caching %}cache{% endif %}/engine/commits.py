"""Invalidation from the commit: what a transaction changed is invalidated by it.

The engine tells of every statement that it executes, the ORM's, Core's and plain text.
A transaction collects what they touch. Its COMMIT closes that before it and renews it
after it, so before anybody is told that the data was stored. A rollback forgets it;
that of a savepoint forgets nothing.

The same events tell the run of a cached function which tables it reads.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Dialect, Engine, MetaData, event
from sqlalchemy.engine import CursorResult
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from app.cache.engine.cache import (
    Reading,
    Settings,
    doubt_runs_elsewhere,
    outside,
    reading_now,
)
from app.cache.engine.catalog import Catalog, catalog_of
from app.cache.engine.entry import ROOT, owner_of, table_namespace
from app.cache.engine.fence import Fence, OpenCaches
from app.cache.engine.rows import changes_of, fixed_in, lacks_key, with_keys
from app.cache.engine.rules import Change, Tables, all_tables, tables_of
from app.cache.engine.sql import Statement, understand

log = logging.getLogger("app.cache")

_WORK, _FENCE = "cache_work", "cache_fence"
_MOST_TOUCHED = 500  # namespaces; beyond that, all that share their first segment


class Work:
    """What one transaction has touched so far: namespaces, with their causes."""

    def __init__(self) -> None:
        self.reading = reading_now.get()
        self.alters = False  # perhaps the schema
        self.adding: list[Change] = []  # rows whose new keys come later
        self.seen: DefaultExecutionContext | None = None
        self.touched: dict[str, str] = {}
        self.ended = False
        if self.reading is not None:
            self.reading.begin()
            self.reading.root.under_way.add(self)
        else:
            outside.set((*(each for each in outside.get() if not each.ended), self))
            _outside.add(self)

    def touch(self, namespaces: Iterable[str], cause: str) -> None:
        """Have these namespaces invalidated by the commit."""
        for name in namespaces:
            self.touched.setdefault(name, cause)
        if len(self.touched) > _MOST_TOUCHED:
            all_of = self.touched.items()
            self.touched = {name.partition(":")[0]: why for name, why in all_of}
        if len(self.touched) > _MOST_TOUCHED:
            self.touched = {ROOT: cause}

    def changes(self) -> set[str]:
        """Return the namespaces that it has touched so far, with those of tables."""
        adds = {table_namespace(change.table.name.lower()) for change in self.adding}
        return adds.union(map(owner_of, self.touched))

    def end(self) -> None:
        """Take note that the transaction is over, and tell the run that began it."""
        self.touched = {}
        if not self.ended and self.reading is not None:
            self.reading.end()
            self.reading.root.under_way.discard(self)
        self.ended = True


_outside: WeakSet[Work] = WeakSet()
_of_session: WeakKeyDictionary[Session, list[Work]] = WeakKeyDictionary()


def touch_at_commit(namespaces: Iterable[str], cause: str) -> None:
    """Have the transactions that are open here invalidate these, too, at their end."""
    # Of those outside of requests, nobody knows which task began them for whom.
    for work in begun() if reading_now.get() else set(_outside):
        if not work.ended:
            work.touch(namespaces, cause)


def begun(*sessions: Session | AsyncSession) -> set[Work]:
    """Return the transactions that are under way here, and those of the sessions."""
    reading = reading_now.get()
    found: list[Work] = [*outside.get(), *(reading.root.under_way if reading else ())]
    for session in sessions:
        of = session.sync_session if isinstance(session, AsyncSession) else session
        found += _of_session.get(of, ())
    return {work for work in found if not work.ended}


def _note_session(
    session: Session, _: SessionTransaction, connection: Connection
) -> None:
    if (work := _work_of(connection)) is not None and not work.ended:
        works = _of_session.setdefault(session, [])
        works[:] = [*(each for each in works if not each.ended), work]


event.listen(Session, "after_begin", _note_session)

_watched: WeakSet[Dialect] = WeakSet()
_told: WeakSet[Dialect] = WeakSet()


def _begin(connection: Connection, *_: object) -> None:
    """Note a transaction. What is looked up later may be newer than its reads."""
    if connection.dialect in _watched:
        if (before := _work_of(connection)) is not None:
            before.end()  # nobody has told of its end
        connection.info[_WORK] = Work()


def _note_unseen(connection: Connection, *_: object) -> None:
    """Have no answer stored that may come from a read of which nobody else tells."""
    dialect, reading = connection.dialect, reading_now.get()
    if reading is None:
        doubt_runs_elsewhere()  # a thread may not know its request
    elif dialect not in _watched:
        reading.use(None)
        if dialect not in _told:
            _told.add(dialect)
            log.warning(
                "Answers that read by the engine %r are not stored: nobody tells of "
                "changes. Pass it to app.cache.watch_commits.",
                connection.engine.url,
            )


# Listeners of the class come before those of one engine, which may write.
event.listen(Engine, "begin", _begin)
event.listen(Engine, "begin_twophase", _begin)
event.listen(Engine, "before_cursor_execute", _note_unseen)


def _hand_out(original: Callable[..., Any], connection: DBAPIConnection) -> Any:
    """Give the driver's own connection. Nobody sees what is done with it."""
    if (reading := reading_now.get()) is not None:
        reading.use(None)
    touch_at_commit([ROOT], "the driver's connection")
    return original(connection)


def watch(
    engine: AsyncEngine, metadata: MetaData, settings: Settings, opened: OpenCaches
) -> None:
    """Invalidate what this engine's transactions change, when they commit.

    `metadata` has the service's tables. The running caches of these settings or this
    database hear of it, else those that `opened` gives. What the driver's own
    connection does outside of a transaction is not seen.
    """
    sync, dialect = engine.sync_engine, engine.dialect
    _watched.add(dialect)
    tables = tables_of(metadata)
    catalog = catalog_of(engine.url, dialect, tables)
    watcher = _Watcher(dialect, catalog, tables, partial(Fence, settings, opened))
    event.listen(sync, "connect", watcher.connect)
    event.listen(sync, "invalidate", watcher.lose)
    event.listen(sync, "before_cursor_execute", watcher.before)
    event.listen(sync, "after_cursor_execute", watcher.after)
    event.listen(sync, "after_execute", watcher.executed)
    # No event comes after a COMMIT.
    around: dict[str, Callable[..., Any]] = {
        "do_commit": watcher.committing,
        "do_rollback": watcher.rolling_back,
        "do_commit_twophase": watcher.committing,
        "do_rollback_twophase": watcher.rolling_back,
        "get_driver_connection": _hand_out,
    }
    for name, call in around.items():
        setattr(dialect, name, partial(call, getattr(dialect, name)))


def _work_of(connection: Connection | PoolProxiedConnection) -> Work | None:
    try:
        work: Work | None = connection.info.get(_WORK)
    except NotImplementedError:  # the engine connects for the first time
        return None
    return work


class _Watcher:
    """Watches one engine."""

    def __init__(
        self,
        dialect: Dialect,
        catalog: Catalog,
        tables: Tables,
        fence: Callable[[dict[str, str]], Fence],
    ) -> None:
        self._dialect = dialect
        self._catalog = catalog
        self._tables = tables
        self._fence = fence

    def connect(self, connection: DBAPIConnection, _: object) -> None:
        """Learn what the database does by itself."""
        self._catalog.ask(connection)

    def before(
        self,
        connection: Connection,
        _cursor: object,
        text: str,
        _parameters: object,
        context: DefaultExecutionContext | None,
        _many: bool,
    ) -> None:
        """Take note of a statement: what it reads, and what it is about to change."""
        work = _work_of(connection)
        if work is None:
            return
        does = understand(text)
        reading = reading_now.get()
        if reading is not None:
            self._note_reads(does, context, reading)
            of = work.reading
            if not work.ended and (of is None or of.root is not reading.root):
                reading.use(None)  # its snapshot may be older than what was looked up
        by_function = not self._catalog.writers.isdisjoint(does.names)
        if does.everything or by_function or not self._catalog.known:
            work.touch([ROOT], (text.split(None, 1) or ["SQL"])[0].upper())
            work.alters = work.alters or does.everything
        elif does.writes and (context is None or work.seen is not context):
            work.seen = context  # an INSERT comes again for each batch of its rows
            self._note_writes(does, context, work)
        driver: Any = connection.connection.dbapi_connection
        alone = self._dialect.detect_autocommit_setting(driver)
        if does.ends or (alone and not _in_transaction(connection)):
            self._close(connection.info, work)

    def after(self, connection: Connection, *_: object) -> None:
        """Invalidate at once what was stored without a COMMIT of ours."""
        work = _work_of(connection)
        if work is None:
            return
        if work.changes() and _in_transaction(connection) is False:
            self._close(connection.info, work)
        self._open(connection.connection, work)

    def executed(
        self,
        connection: Connection,
        _statement: object,
        _several: object,
        _parameters: object,
        _options: object,
        result: CursorResult[Any],
    ) -> None:
        """Take in the primary keys that the database has given to new rows."""
        work = _work_of(connection)
        if work is not None and work.adding:
            work.adding = with_keys(work.adding, result)
            self._settle(work)

    def committing(
        self, original: Callable[..., None], connection: Any, *about: Any, **how: Any
    ) -> None:
        """COMMIT, and close what it changes before that, and open it anew after it."""
        work = _work_of(connection)
        if work is None:
            original(connection, *about, **how)
            return
        try:
            self._close(connection.info, work)
            original(connection, *about, **how)
        except BaseException as error:
            fence: Fence | None = connection.info.get(_FENCE)
            if fence is not None and not self._is_answer(error):
                del connection.info[_FENCE]
                fence.end_later()  # the COMMIT may yet be carried out
            raise
        finally:
            try:
                self._open(_pooled(connection), work)
            finally:
                work.end()

    def rolling_back(
        self, original: Callable[..., None], connection: Any, *about: Any, **how: Any
    ) -> None:
        """ROLLBACK, and forget what was changed."""
        try:
            original(connection, *about, **how)
        finally:
            if (work := _work_of(connection)) is not None:
                work.end()
                # What a statement closed that failed by itself.
                self._open(_pooled(connection), work)

    def lose(self, _: DBAPIConnection, record: ConnectionPoolEntry, __: object) -> None:
        """End what a connection was doing that is given up, as by who is cancelled."""
        if (work := record.info.get(_WORK)) is not None:
            work.end()
        if (fence := record.info.pop(_FENCE, None)) is not None:
            fence.end_later()  # a statement that commits may yet be carried out

    def _close(self, info: dict[str, Any], work: Work) -> None:
        """Have nothing of what was changed served or stored until `_open`."""
        self._settle(work)
        touched, work.touched = work.touched, {}
        if touched:
            fence = info[_FENCE] = self._fence(touched)
            fence.close()

    def _open(self, connection: PoolProxiedConnection, work: Work) -> None:
        fence: Fence | None = connection.info.pop(_FENCE, None)
        if fence is None:
            return
        try:
            if work.alters:
                self._catalog.ask(connection, for_all=True)
        finally:
            fence.end()

    def _is_answer(self, error: BaseException) -> bool:
        """Tell whether the database itself said that it has not committed."""
        if not isinstance(error, self._dialect.loaded_dbapi.Error | DBAPIError):
            return False
        known: Any = getattr(error, "orig", None) or error
        return not self._dialect.is_disconnect(known, None, None)

    def _note_reads(
        self, does: Statement, context: DefaultExecutionContext | None, reading: Reading
    ) -> None:
        if self._catalog.reads_untold(does):
            reading.use(None)
        if self._catalog.reads_more(does):
            for name in all_tables():  # those of other engines, too
                reading.saw(name, frozenset())
            return
        tables = self._tables.named()
        for name in tables.keys() & does.names.keys():
            table = tables[name]
            once = does.names[name] == 1  # else a row may matter that none fixes
            row = fixed_in(context, table, self._catalog.collated) if once else {}
            reading.saw(table_namespace(name), self._tables.reached(table, row))

    def _note_writes(
        self, does: Statement, context: DefaultExecutionContext | None, work: Work
    ) -> None:
        self._settle(work)
        for kind, name in does.writes:
            cause = f"{kind} {name}"
            table = self._tables.named().get(name)
            if table is None:
                work.touch([ROOT], cause)
                continue
            collated = self._catalog.collated
            changes = list(changes_of(kind, table, does, context, collated))
            if does.plain and any(map(lacks_key, changes)):
                work.adding = changes
            else:
                self._touch(work, changes, cause)

    def _settle(self, work: Work) -> None:
        """Give up waiting for new keys: the statement failed, or does not tell them."""
        added, work.adding = work.adding, []
        if added:
            self._touch(work, added, f"INSERT {added[0].table.name}")

    def _touch(self, work: Work, changes: Iterable[Change], cause: str) -> None:
        for change in changes:
            work.touch(self._tables.touched(change, self._catalog.triggered), cause)


def _in_transaction(connection: Connection) -> bool | None:
    """Tell whether what is executed waits for a COMMIT; None where nobody knows."""
    adapted: Any = connection.connection.dbapi_connection
    driver = adapted.driver_connection
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return bool(driver.is_in_transaction())
    found: bool | None = getattr(driver, "in_transaction", None)  # SQLite
    return found


def _pooled(connection: Connection | PoolProxiedConnection) -> PoolProxiedConnection:
    # The two-phase calls are given SQLAlchemy's own connection.
    if isinstance(connection, Connection):
        return connection.connection
    return connection
