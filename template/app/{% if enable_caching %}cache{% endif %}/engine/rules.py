"""Which namespaces a change of which row touches: the rules of `touches`.

A rule makes invalidation finer. What makes it right is the version that each table has:
an entry depends on those of the tables that it was made from, but for a table whose
every change that matters is sure to reach the entry's key by a rule.
"""

from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Column, ForeignKeyConstraint, MetaData, Table, inspect
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.orm import Mapper

from app.cache.engine.entry import (
    ROOT,
    names_in,
    owner_of,
    segment,
    table_namespace,
)

Row = Mapping[str, Any]  # of what is known of a row, by column


@dataclass(frozen=True, slots=True)
class Rule:
    """A namespace with {attributes} of the model, and the changes it ignores."""

    template: str
    fields: frozenset[str]
    unless_only: frozenset[str]


rules: dict[type, list[Rule]] = {}


def add_rule(
    model: type[Any], template: str, unless_only: Collection[str] = ()
) -> None:
    """Add a rule. Raises ValueError for an attribute that the model does not have."""
    known = set(inspect(model).columns.keys())
    fields = names_in(template)
    if unknown := sorted((fields | set(unless_only)) - known):
        raise ValueError(f"{model.__name__} has no column {', '.join(unknown)}")
    rule = Rule(template, frozenset(fields), frozenset(unless_only))
    rules.setdefault(model, []).append(rule)


UNKNOWN = object()


class Change(NamedTuple):
    """What is known of a change of a table's row, or of several ones, by column.

    `row` has the values before it, or those that are added. `sets` has the columns
    that an UPDATE changes and what it writes, None where the columns are unknown. A
    value may be UNKNOWN; None is NULL.
    """

    table: Table
    row: Row
    sets: Row | None = MappingProxyType({})
    deletes: bool = False


class _TableRule(NamedTuple):
    """A rule for the rows of one table.

    `columns` has the table's columns by the model's attributes. `always` says that each
    row of the table is one of the model's.
    """

    rule: Rule
    columns: Mapping[str, str]
    always: bool

    def namespace(self, row: Row) -> str | None:
        """Return the namespace of a row; where a value is unknown, a wider one.

        None for a NULL, by which no key is found.
        """
        found: list[str] = []
        for part in self.rule.template.split(":"):
            values = {
                name: row.get(self.columns.get(name, ""), UNKNOWN)
                for name in names_in(part)
            }
            if UNKNOWN in values.values():
                break
            if None in values.values():
                return None
            found.append(part.format_map({n: segment(v) for n, v in values.items()}))
        return ":".join(found)

    def is_fixed(self, row: Row) -> bool:
        """Tell whether the row has all values that the namespace needs."""
        return all(self.columns.get(name) in row for name in self.rule.fields)

    def ignores(self, sets: Row) -> bool:
        """Tell whether a change of just these columns touches nothing."""
        ignored = {self.columns.get(name) for name in self.rule.unless_only}
        return bool(sets) and sets.keys() <= ignored


class Tables:
    """The tables of a service, by their names in lower case, and what they touch.

    Tables of one name in two schemas count as one.
    """

    def __init__(self, metadata: MetaData) -> None:
        self._metadata = metadata
        self._named: dict[str, Table] = {}
        self._rules: dict[str, list[_TableRule]] = {}
        # The foreign keys by which a table's changes change others, by its name.
        self._acting: dict[str, list[ForeignKeyConstraint]] = {}
        self._seen = (0, 0)

    def named(self) -> Mapping[str, Table]:
        """Return all tables; what was declared since the last time is taken in."""
        seen = len(self._metadata.tables), sum(map(len, rules.values()))
        if seen != self._seen:
            self._seen = seen
            tables = self._metadata.tables.values()
            self._named = {table.name.lower(): table for table in tables}
            self._rules, self._acting = {}, {}
            for table in tables:
                for key in table.foreign_key_constraints:
                    if _action(key.ondelete) or _action(key.onupdate):
                        # A write to a table that is not declared drops everything.
                        with suppress(NoReferenceError):
                            to = key.referred_table.name.lower()
                            self._acting.setdefault(to, []).append(key)
            for model, of_model in rules.items():
                for rule in of_model:
                    self._take_in(inspect(model), rule)
        return self._named

    def touched(self, change: Change, triggered: Set[str] = frozenset()) -> set[str]:
        """Return the namespaces that a change touches.

        They are those of what the database changes by itself, too, as foreign keys say:
        any rows of those tables. Everything, where that is one of the `triggered` ones.
        """
        self.named()
        name = change.table.name.lower()
        others = self._following(change)
        if not triggered.isdisjoint({name, *others}):
            return {ROOT}
        found = {*self._by_rules(name, change), *map(table_namespace, [name, *others])}
        for other in others:
            found.update(each.namespace({}) for each in self._rules.get(other, ()))
        return {name for name in found if name is not None}

    def say(self, child: str, parent: str, ondelete: str, onupdate: str) -> bool:
        """Tell whether the models say what a foreign key of the database does."""
        self.named()
        does = _action(ondelete), _action(onupdate)
        return does == ("", "") or any(
            does == (_action(key.ondelete), _action(key.onupdate))
            for key in self._acting.get(parent, ())
            if key.table.name.lower() == child
        )

    def reached(self, table: Table, row: Row) -> frozenset[str]:
        """Return the namespaces that each change of such a row is sure to touch.

        `row` has the values that are fixed, none of them NULL.
        """
        self.named()
        return frozenset(
            owner_of(each.namespace(row) or "")
            for each in self._rules.get(table.name.lower(), ())
            if each.always and each.is_fixed(row)
        )

    def _by_rules(self, name: str, change: Change) -> Iterator[str | None]:
        for each in self._rules.get(name, ()):
            if change.sets is None:
                yield each.namespace({})
            elif not each.ignores(change.sets):
                yield each.namespace(change.row)
                yield each.namespace({**change.row, **change.sets})

    def _following(self, change: Change) -> set[str]:
        """Return the tables that the database may change by itself after a change."""
        pending = [
            key
            for key in self._acting.get(change.table.name.lower(), ())
            if (change.deletes and _action(key.ondelete))
            or (_action(key.onupdate) and _moves(change.sets, key))
        ]
        found: set[str] = set()
        while pending:
            name = pending.pop().table.name.lower()
            if name not in found:
                found.add(name)
                pending += self._acting.get(name, ())
        return found

    def _take_in(self, mapper: Mapper[Any], rule: Rule) -> None:
        columns: dict[Table, dict[str, str]] = {}
        for below in mapper.self_and_descendants:
            for attribute in below.column_attrs:
                for column in attribute.columns:
                    if isinstance(column, Column) and isinstance(column.table, Table):
                        of_table = columns.setdefault(column.table, {})
                        of_table[attribute.key] = column.key
        for table, attributes in columns.items():
            using = [m for m in mapper.registry.mappers if table in m.tables]
            always = all(mapper in m.iterate_to_root() for m in using)
            each = _TableRule(rule, attributes, always)
            self._rules.setdefault(table.name.lower(), []).append(each)


def _action(named: str | None) -> str:
    """Return what a foreign key does to the rows that refer, "" for nothing."""
    action = (named or "").upper()
    return "" if action in ("NO ACTION", "RESTRICT") else action


def _moves(sets: Row | None, key: ForeignKeyConstraint) -> bool:
    """Tell whether an UPDATE of these columns may change what the key refers to."""
    return sets is None or any(link.column.key in sets for link in key.elements)


_watched: WeakKeyDictionary[MetaData, Tables] = WeakKeyDictionary()


def tables_of(metadata: MetaData) -> Tables:
    """Return the tables that are declared there."""
    return _watched.setdefault(metadata, Tables(metadata))


def all_tables() -> set[str]:
    """Return the namespaces of all tables whose changes are seen."""
    return {
        table_namespace(name) for tables in _watched.values() for name in tables.named()
    }
