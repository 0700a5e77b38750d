"""Invalidation from the commit: what a transaction changed is invalidated by it.

A session collects the namespaces that its flushes and its bulk statements touch. Its
commit closes them before the COMMIT and renews them before it returns, so before
anybody is told that the data was stored. A rollback forgets them, that of a savepoint
only what came after it.
"""

from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import InstanceState, Session, SessionTransaction, UOWTransaction

from app.cache.engine.bulk import touched_by
from app.cache.engine.cache import Reading, reading_now
from app.cache.engine.fence import Fence, OpenCaches
from app.cache.engine.rules import cascaded, rules_of

_PENDING = "cache_pending"
_READING = "cache_reading"
_FENCE = "cache_fence"


def watch(sessions: async_sessionmaker[AsyncSession], opened: OpenCaches) -> None:
    """Invalidate what the transactions of these sessions change, when they commit.

    `opened` gives the caches that have to hear of it.
    SQL text and statements on tables that no model maps are not seen; call
    `invalidate_namespace` after those.
    """
    base = sessions.kw.get("sync_session_class", AsyncSession.sync_session_class)
    target: Any = type(
        "WatchedSession", (base,), {"cache_opened": staticmethod(opened)}
    )
    sessions.configure(sync_session_class=target)
    event.listen(target, "after_begin", _note_begin)
    event.listen(target, "after_flush", _collect)
    event.listen(target, "do_orm_execute", _collect_bulk)
    event.listen(target, "before_commit", _close)
    event.listen(target, "after_soft_rollback", _forget)
    event.listen(target, "after_commit", _invalidate)
    event.listen(target, "after_transaction_end", _note_end)


def _pending(session: Session) -> set[str]:
    """Return the namespaces that the innermost savepoint or transaction touched."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    pending: dict[SessionTransaction | None, set[str]]
    pending = session.info.setdefault(_PENDING, {})
    return pending.setdefault(transaction, set())


def _collect_bulk(state: Any) -> None:
    _pending(state.session).update(touched_by(state))


def _collect(session: Session, _: UOWTransaction) -> None:
    found: set[str] = set()
    for instance in session.dirty:
        found |= _changed(inspect(instance))
    for instance in (*session.new, *session.deleted):
        state = inspect(instance)
        found.update(r.namespace(_values(state)) for r in rules_of(state.mapper))
    for instance in session.deleted:
        state = inspect(instance)
        found |= cascaded(state.mapper, _values(state))
    if found:
        _pending(session).update(found)
    if _FENCE in session.info:
        session.info[_FENCE].close(found)  # something else flushes within the commit


def _values(state: InstanceState[Any]) -> dict[str, Any]:
    """Return what is known of a row without asking for it."""
    mapper = state.mapper
    keys = [mapper.get_property_by_column(c).key for c in mapper.primary_key]
    return dict(zip(keys, state.identity or (), strict=False)) | state.dict


def _changed(state: InstanceState[Any]) -> set[str]:
    """Return what a changed row touches, under its old values and its new ones."""
    before, after = _values(state), _values(state)
    changed = set()
    for attribute in state.mapper.column_attrs:
        history = state.attrs[attribute.key].history
        if history.has_changes():
            changed.add(attribute.key)
            before.pop(attribute.key, None)
            if history.deleted:
                before[attribute.key] = history.deleted[0]
    if not changed:
        return set()
    return {
        rule.namespace(values)
        for rule in rules_of(state.mapper)
        if not rule.ignores(changed)
        for values in (before, after)
    }


def _found(session: Session) -> set[str]:
    return set().union(*session.info.get(_PENDING, {}).values())


def _close(session: Session) -> None:
    if session.in_nested_transaction():
        return
    session.flush()  # what the commit would, so that one fence is enough
    opened: OpenCaches = type(session).cache_opened  # type: ignore[attr-defined]  # ours
    fence = session.info[_FENCE] = Fence(opened)
    fence.close(_found(session))


def _forget(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:
        return
    pending = session.info.get(_PENDING, {})
    for transaction in list(pending):
        level = transaction
        while level is not None and level is not ended:
            level = level.parent
        if level is ended:
            del pending[transaction]


def _invalidate(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint was released; nobody else can see its changes yet
    fence: Fence = session.info.pop(_FENCE)
    fence.end(_found(session))
    session.info.pop(_PENDING, None)


def _note_begin(session: Session, _: SessionTransaction, __: object) -> None:
    """Tell the run that it reads from a snapshot from now on.

    What is looked up in the cache after that could be newer than what is read.
    """
    reading = reading_now.get()
    if reading is not None and _READING not in session.info:
        session.info[_READING] = reading
        reading.transactions += 1
        reading.root.open += 1


def _note_end(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    fence: Fence | None = session.info.pop(_FENCE, None)
    if fence is not None:
        # A COMMIT without an answer may have been carried out.
        fence.end(_found(session))
    session.info.pop(_PENDING, None)
    reading: Reading | None = session.info.pop(_READING, None)
    if reading is not None:
        reading.root.open -= 1
