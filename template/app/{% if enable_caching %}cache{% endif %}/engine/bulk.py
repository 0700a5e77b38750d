"""Which namespaces a bulk INSERT, UPDATE or DELETE touches.

It is told from the statement alone: what its WHERE fixes is known of all its rows, and
where it does not fix what a rule names, the wider namespace is touched.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Delete, Insert, Update
from sqlalchemy.orm import Mapper, ORMExecuteState
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList

from app.cache.engine.rules import cascaded, mapper_of, rules_of

_UNKNOWN = object()

Row = dict[str, Any]


def touched_by(state: ORMExecuteState) -> set[str]:
    """Return the namespaces that a statement touches; none for one that only reads."""
    statement = state.statement
    if not isinstance(statement, Insert | Update | Delete):
        return set()
    mapper = state.bind_mapper or mapper_of(statement.table)
    if mapper is None:
        return set()
    given = state.parameters or {}
    rows = [given] if isinstance(given, Mapping) else list(given)
    named = [_named(mapper, row) for row in rows]
    if isinstance(statement, Insert):
        changed, before = {}, [_inserted(mapper, statement, row) for row in named]
    else:
        changed, before = (
            _changes(mapper, statement, named),
            [_fixed(mapper, statement)],
        )
        if not isinstance(given, Mapping):  # by primary keys
            before = [before[0] | _keys(mapper, row) for row in named]
    rules = [r for r in rules_of(mapper) if not (changed and r.ignores(changed))]
    found = {
        rule.namespace(_known(values))
        for rule in rules
        for row in before
        for values in (row, row | changed)
    }
    if isinstance(statement, Delete):
        found.update(*(cascaded(mapper, row) for row in before))
    return found


def _fixed(mapper: Mapper[Any], statement: Update | Delete) -> Row:
    """Return the attributes that the WHERE of a statement fixes."""
    where = statement.whereclause
    return dict(_equalities(mapper, where)) if where is not None else {}


def _equalities(
    mapper: Mapper[Any], clause: ColumnElement[Any]
) -> Iterator[tuple[str, Any]]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for each in clause.clauses:
            yield from _equalities(mapper, each)
    elif isinstance(clause, BinaryExpression) and clause.operator is operators.eq:
        value = _literal(clause.right)
        if getattr(clause.left, "table", None) in mapper.tables and value is not None:
            yield _name(mapper, clause.left), value


def _inserted(mapper: Mapper[Any], statement: Insert, row: Row) -> Row:
    # There is no public way to ask a statement for its values.
    several = getattr(statement, "_multi_values", None)
    upsert = getattr(statement, "_post_values_clause", None) is not None
    if upsert or several or statement.select is not None:
        return {}
    values = _literals(mapper, statement) | row
    return {name: value for name, value in values.items() if value is not None}


def _changes(mapper: Mapper[Any], statement: Update | Delete, rows: list[Row]) -> Row:
    """Return what an UPDATE sets; the values that only the database knows unnamed."""
    if isinstance(statement, Delete):
        return {}
    keys = {mapper.get_property_by_column(c).key for c in mapper.primary_key}
    names = {name for row in rows for name in row} - keys
    return dict.fromkeys(names, _UNKNOWN) | _literals(mapper, statement)


def _keys(mapper: Mapper[Any], row: Row) -> Row:
    names = [mapper.get_property_by_column(c).key for c in mapper.primary_key]
    return {name: row[name] for name in names if name in row}


def _literals(mapper: Mapper[Any], statement: Insert | Update) -> Row:
    values: Mapping[Any, Any] = getattr(statement, "_values", None) or {}
    found = {_name(mapper, column): _literal(value) for column, value in values.items()}
    return {n: _UNKNOWN if value is None else value for n, value in found.items()}


def _literal(value: object) -> Any:
    """Return a value that the statement itself has, None for any other."""
    if isinstance(value, BindParameter) and not value.required and not value.expanding:
        return value.effective_value
    return None


def _known(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not _UNKNOWN}


def _named(mapper: Mapper[Any], row: Mapping[Any, Any]) -> Row:
    return {_name(mapper, name): value for name, value in row.items()}


def _name(mapper: Mapper[Any], column: Any) -> str:
    """Return the attribute that a statement's column, or its name, stands for."""
    key: str = getattr(column, "key", column)
    if key not in mapper.attrs and key in mapper.local_table.c:
        return mapper.get_property_by_column(mapper.local_table.c[key]).key
    return key
