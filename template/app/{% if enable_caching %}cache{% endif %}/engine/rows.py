"""What a compiled statement tells of the rows that it reads or changes.

Only what is the same in the database and in a key counts: whole numbers, texts that
are compared byte for byte, UUIDs.
"""

from collections.abc import Iterator, Mapping, Set
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BindParameter,
    Column,
    CursorResult,
    Delete,
    Select,
    Table,
    Update,
    types,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, TextClause
from sqlalchemy.sql.visitors import iterate

from app.cache.engine.rules import UNKNOWN, Change, Row
from app.cache.engine.sql import Kind, Statement

_EXACT: dict[type, type] = {
    types.Uuid: UUID,
    types.String: str,
    types.Text: str,
    types.Unicode: str,
    types.UnicodeText: str,
    types.VARCHAR: str,
    types.TEXT: str,
}


def fixed_in(
    context: DefaultExecutionContext | None, table: Table, collated: Set[str]
) -> Row:
    """Return the values that the WHERE of a SELECT fixes of a table's columns.

    In `collated` tables, no text counts.
    """
    compiled = _compiled(context)
    if context is None or compiled is None or len(context.compiled_parameters) != 1:
        return {}
    return _fixed(compiled, table, context.compiled_parameters[0], collated)


def changes_of(
    kind: Kind,
    table: Table,
    does: Statement,
    context: DefaultExecutionContext | None,
    collated: Set[str],
) -> Iterator[Change]:
    """Yield what a statement tells of the rows that it changes.

    What the ORM remembers of them counts for nothing: another transaction may have
    changed it since.
    """
    compiled = _compiled(context)
    statement = getattr(compiled, "statement", None)
    of = getattr(getattr(statement, "table", None), "key", None)
    tells = does.plain or kind in ("UPDATE", "DELETE")
    single = len(does.writes) == 1 and of == table.key
    if context is None or compiled is None or not (tells and single):
        sets: Row | None = {} if kind == "DELETE" or does.plain else None
        yield Change(table, {}, sets, deletes=kind in ("DELETE", "REPLACE"))
        return
    keys = {column.name.lower(): column.key for column in table.columns}
    for values in context.compiled_parameters:
        known = _known(table, _written(compiled, table, values), collated)
        row = _fixed(compiled, table, values, collated)
        if kind == "INSERT":
            yield Change(table, known)
        elif kind == "DELETE":
            yield Change(table, row, deletes=True)
        elif does.sets is None or not does.sets <= keys.keys():
            yield Change(table, row, None)
        else:
            # The database sets some by itself.
            computed = {c.key for c in table.columns if c.computed or c.server_onupdate}
            given = {keys[n]: known.get(keys[n], UNKNOWN) for n in does.sets}
            yield Change(table, row, dict.fromkeys(computed, UNKNOWN) | given)


def lacks_key(change: Change) -> bool:
    """Tell whether the database gives the new row its primary key."""
    column = change.table.autoincrement_column
    return column is not None and column.key not in change.row


def with_keys(changes: list[Change], result: CursorResult[Any]) -> list[Change]:
    """Return the changes with the primary keys that their new rows were given."""
    try:
        given = result.inserted_primary_key_rows
    except (InvalidRequestError, AttributeError):
        return changes
    if len(given) != len(changes):
        return changes
    names = [column.key for column in changes[0].table.primary_key]
    pairs = [zip(names, key or (), strict=False) for key in given]
    return [
        change._replace(row={**{name: v for name, v in of if v}, **change.row})
        for change, of in zip(changes, pairs, strict=True)
    ]


def _compiled(context: DefaultExecutionContext | None) -> SQLCompiler | None:
    compiled = getattr(context, "compiled", None)
    return compiled if isinstance(compiled, SQLCompiler) else None


Equality = tuple[Column[Any], str]  # and the name of the value that is bound
_equal: WeakKeyDictionary[SQLCompiler, list[Equality]] = WeakKeyDictionary()


def _fixed(
    compiled: SQLCompiler, table: Table, values: Mapping[str, Any], collated: Set[str]
) -> Row:
    found = _equal.get(compiled)
    if found is None:
        statement = compiled.statement
        found = _equal[compiled] = []
        if isinstance(statement, Select | Update | Delete):
            where = statement.whereclause
            # A text is in no parentheses, so its OR may be one of the whole.
            if where is not None and not any(map(_is_text, iterate(where))):
                found += _equalities(compiled, where)
    return {
        column.key: values[name]
        for column, name in found
        if column.table.key == table.key
        and _is_exact(column, values.get(name), collated)
    }


def _is_text(clause: object) -> bool:
    return isinstance(clause, TextClause) or getattr(clause, "is_literal", False)


def _equalities(compiled: SQLCompiler, clause: Any) -> Iterator[Equality]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for each in clause.clauses:
            yield from _equalities(compiled, each)
    elif isinstance(clause, BinaryExpression) and clause.operator is operators.eq:
        column, value = clause.left, clause.right
        if (
            isinstance(column, Column)
            and isinstance(column.table, Table)
            and isinstance(value, BindParameter)
        ):
            # With a cached statement, the values of `value` are those of the first one.
            name = compiled.bind_names.get(compiled.binds.get(value.key, value))
            if name is not None:
                yield column, name


_unsure: WeakKeyDictionary[SQLCompiler, set[str]] = WeakKeyDictionary()


def _written(
    compiled: SQLCompiler, table: Table, values: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the values that columns of their names are given as they are.

    One that the statement names itself may be a part of an expression. Of several rows
    in one statement, a column's name tells the value of the first one.
    """
    unsure = _unsure.get(compiled)
    if unsure is None:
        parts = iterate(compiled.statement) if compiled.statement is not None else ()
        unsure = {part.key for part in parts if isinstance(part, BindParameter)}
        if any(f"{column.key}_m1" in compiled.binds for column in table.columns):
            unsure |= compiled.binds.keys()
        _unsure[compiled] = unsure
    return {name: value for name, value in values.items() if name not in unsure}


def _known(table: Table, values: Mapping[str, Any], collated: Set[str]) -> Row:
    """Return the values of a table's columns as the database has them.

    One that it may turn into another is UNKNOWN. A primary key's NULL is left out: the
    database gives a key in its place.
    """
    return {
        column.key: value
        if value is None or _is_exact(column, value, collated)
        else UNKNOWN
        for column in table.columns
        if (value := values.get(column.key, UNKNOWN)) is not UNKNOWN
        and not (value is None and column.primary_key)
    }


def _is_exact(column: Column[Any], value: object, collated: Set[str]) -> bool:
    """Tell whether the value is equal to the row's only if their texts are, too."""
    kind: Any = column.type
    if isinstance(kind, types.Integer):
        return type(value) is int
    if isinstance(value, str) and column.table.name.lower() in collated:
        return False
    compared_by_bytes = getattr(kind, "collation", None) is None
    return compared_by_bytes and type(value) is _EXACT.get(type(kind))
