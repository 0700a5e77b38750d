"""Which namespaces a bulk INSERT, UPDATE or DELETE touches.

The rows are read, and locked, just before the statement runs. When it then reports
another number of rows, others came in between, and the wider namespace is touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Delete, Insert, Result, Update, select, tuple_
from sqlalchemy.orm import Mapper, ORMExecuteState

from app.cache.rules import cascaded, cascaded_fields, mapper_of, rules_of

_MOST_ROWS = 1000  # that are told apart; more touch the wider namespace
_UNKNOWN = object()

Row = dict[str, Any]


def run_bulk(state: ORMExecuteState, touched: set[str]) -> Result[Any] | None:
    """Run a bulk statement and note what it touches; None for any other statement."""
    statement = state.statement
    if not isinstance(statement, Insert | Update | Delete):
        return None
    mapper = state.bind_mapper or mapper_of(statement.table)
    if mapper is None:
        return None
    if isinstance(statement, Insert):
        rows = list(_inserted(mapper, statement, state.parameters))
        touched |= {rule.namespace(row) for rule in rules_of(mapper) for row in rows}
        return None
    changes = _changes(mapper, statement, state.parameters)
    rules = [r for r in rules_of(mapper) if not (changes and r.ignores(changes))]
    fields = set().union(*(rule.fields for rule in rules))
    if isinstance(statement, Delete):
        fields |= cascaded_fields(mapper)
    if not rules and not fields:
        return None
    affected = list(_affected(state, mapper, statement, sorted(fields)))
    result = state.invoke_statement()
    many = isinstance(state.parameters, list | tuple)  # by primary keys, not counted
    if not many and getattr(result, "rowcount", -1) != len(affected):
        affected = [{}]
    for row in affected:
        for values in (row, _after(row, changes)):
            touched |= {rule.namespace(values) for rule in rules}
        if isinstance(statement, Delete):
            touched |= cascaded(mapper, row)
    return result


def _inserted(mapper: Mapper[Any], statement: Insert, parameters: Any) -> Iterator[Row]:
    # There is no public way to ask a statement for its values.
    several = getattr(statement, "_multi_values", None)
    upsert = getattr(statement, "_post_values_clause", None) is not None
    if upsert or several or statement.select is not None:
        yield {}
        return
    given = parameters or [{}]
    for row in [given] if isinstance(given, Mapping) else given:
        values = _literals(mapper, statement) | _named(mapper, row)
        yield {
            name: value
            for name, value in values.items()
            if value is not None and value is not _UNKNOWN
        }


def _changes(mapper: Mapper[Any], statement: Update | Delete, parameters: Any) -> Row:
    """Return what an UPDATE sets; the values that only the database knows unnamed."""
    if isinstance(statement, Delete):
        return {}
    changes = _literals(mapper, statement)
    if isinstance(parameters, list | tuple):
        keys = {mapper.get_property_by_column(c).key for c in mapper.primary_key}
        names = {name for row in parameters for name in _named(mapper, row)}
        changes |= dict.fromkeys(names - keys, _UNKNOWN)
    return changes


def _literals(mapper: Mapper[Any], statement: Insert | Update) -> Row:
    values: Mapping[Any, Any] = getattr(statement, "_values", None) or {}
    return {
        _name(mapper, column): (
            value.value
            if isinstance(value, BindParameter) and not value.required
            else _UNKNOWN
        )
        for column, value in values.items()
    }


def _named(mapper: Mapper[Any], row: Mapping[Any, Any]) -> Row:
    return {_name(mapper, name): value for name, value in row.items()}


def _name(mapper: Mapper[Any], column: Any) -> str:
    """Return the attribute that a statement's column, or its name, stands for."""
    key: str = getattr(column, "key", column)
    if key not in mapper.attrs and key in mapper.local_table.c:
        return mapper.get_property_by_column(mapper.local_table.c[key]).key
    return key


def _after(row: Row, changes: Row) -> Row:
    values = row | changes
    return {name: value for name, value in values.items() if value is not _UNKNOWN}


def _affected(
    state: ORMExecuteState,
    mapper: Mapper[Any],
    statement: Update | Delete,
    fields: list[str],
) -> Iterator[Row]:
    columns = [mapper.attrs[name].class_attribute for name in fields]
    query = select(*(columns or mapper.primary_key)).limit(_MOST_ROWS + 1)
    parameters: Any = state.parameters
    if isinstance(parameters, list | tuple):
        if len(parameters) > _MOST_ROWS:
            yield {}
            return
        query = query.where(_has_primary_key(mapper, parameters))
        parameters = None
    elif statement.whereclause is not None:
        query = query.where(statement.whereclause)
    for row in state.session.execute(query.with_for_update(), parameters):
        yield dict(zip(fields, row, strict=False))


def _has_primary_key(mapper: Mapper[Any], rows: Sequence[Row]) -> Any:
    keys = mapper.primary_key
    names = [mapper.get_property_by_column(column).key for column in keys]
    found = [tuple(_named(mapper, row)[name] for name in names) for row in rows]
    if len(keys) == 1:
        return keys[0].in_([key for (key,) in found])
    return tuple_(*keys).in_(found)
