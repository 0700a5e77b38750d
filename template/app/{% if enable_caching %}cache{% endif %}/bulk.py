"""Which namespaces a bulk INSERT, UPDATE or DELETE touches.

The rows are read, and locked, just before the statement runs. When it then reports
another number of rows, others came in between, and the wider namespace is touched.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Delete, Insert, Result, Update, select
from sqlalchemy.orm import Mapper, ORMExecuteState

from app.cache.rules import Rule, cascaded, cascaded_fields, rules_of

_MOST_ROWS = 1000  # that are told apart; more touch the wider namespace


def run_bulk(state: ORMExecuteState, touched: set[str]) -> Result[Any] | None:
    """Run a bulk statement and note what it touches; None for any other statement."""
    mapper, statement = state.bind_mapper, state.statement
    if mapper is None or not isinstance(statement, Insert | Update | Delete):
        return None
    if isinstance(statement, Insert):
        rows = list(_inserted(state, statement))
        touched |= {rule.namespace(row) for rule in rules_of(mapper) for row in rows}
        return None
    changed = _changed(state, statement)
    rules = [r for r in rules_of(mapper) if not (changed and r.ignores(changed))]
    fields = set().union(*(rule.fields for rule in rules))
    if isinstance(statement, Delete):
        fields |= cascaded_fields(mapper)
    if not rules and not fields:
        return None
    affected: list[Mapping[str, Any]] = [
        *_affected(state, mapper, statement, sorted(fields))
    ]
    result = state.invoke_statement()
    if getattr(result, "rowcount", -1) != len(affected):
        affected = [{}]
    for row in affected:
        touched |= {rule.namespace(row) for rule in rules}
        if isinstance(statement, Delete):
            touched |= cascaded(mapper, row)
    touched |= _moved(rules, changed)
    return result


def _inserted(state: ORMExecuteState, statement: Insert) -> Iterator[Mapping[str, Any]]:
    given = state.parameters or statement.compile().params
    for row in [given] if isinstance(given, Mapping) else given:
        yield {name: value for name, value in row.items() if value is not None}


def _changed(state: ORMExecuteState, statement: Update | Delete) -> set[str]:
    """Return the attributes that an UPDATE sets; none when that cannot be told."""
    if isinstance(statement, Delete) or state.parameters:
        return set()
    # There is no public way to ask an Update for its columns.
    values: Mapping[Any, Any] = getattr(statement, "_values", None) or {}
    return {getattr(column, "key", column) for column in values}


def _affected(
    state: ORMExecuteState,
    mapper: Mapper[Any],
    statement: Update | Delete,
    fields: list[str],
) -> list[dict[str, Any]]:
    if isinstance(state.parameters, list | tuple):
        return [dict(row) for row in state.parameters]  # an UPDATE by primary keys
    columns = [mapper.attrs[name].class_attribute for name in fields]
    query = select(*(columns or mapper.primary_key)).limit(_MOST_ROWS + 1)
    if statement.whereclause is not None:
        query = query.where(statement.whereclause)
    rows = state.session.execute(query.with_for_update(), state.parameters).all()
    return [dict(zip(fields, row, strict=False)) for row in rows]


def _moved(rules: list[Rule], changed: set[str]) -> set[str]:
    """Return where rows have gone whose namespace the UPDATE itself changes."""
    return {rule.namespace({}) for rule in rules if rule.fields & changed}
