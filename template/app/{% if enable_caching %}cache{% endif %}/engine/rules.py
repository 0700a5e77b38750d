"""Which namespaces a change of which row touches: the rules of `touches`.

A rule makes invalidation finer. What makes it right is the version that each table has:
an entry depends on those of the tables that it was made from, but for a table whose
every change that matters is sure to reach the entry's key by a rule.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Column, ForeignKeyConstraint, MetaData, Table, inspect
from sqlalchemy.orm import Mapper

from app.cache.engine.entry import names_in, owner_of, segment, table_namespace

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
_MOST_REACHED = 4096  # rows whose namespaces are remembered


class Change(NamedTuple):
    """What is known of a change of one table's rows, by column.

    `rows` are their values before it, or those that are added. `sets` has the columns
    that an UPDATE changes and what it writes, None where the columns are unknown. A
    value may be UNKNOWN; None is NULL.
    """

    table: Table
    rows: Sequence[Row]
    sets: Row | None = MappingProxyType({})
    deletes: bool = False


class _TableRule(NamedTuple):
    """A rule for the rows of one table.

    `segments` are the namespace's, with %s for each of its `columns`, None for one that
    the table does not have; `names` has the model's attributes by the columns. `always`
    says that each row of the table is one of the model's.
    """

    rule: Rule
    segments: tuple[tuple[str, tuple[str | None, ...]], ...]
    columns: frozenset[str | None]
    names: Mapping[str, str]
    always: bool

    def namespace(self, row: Row) -> str | None:
        """Return the namespace of a row; where a value is unknown, a wider one.

        None for a NULL, by which no key is found.
        """
        found: list[str] = []
        for text, columns in self.segments:
            values = [row.get(c, UNKNOWN) if c else UNKNOWN for c in columns]
            if UNKNOWN in values:
                break
            if None in values:
                return None
            found.append(text % tuple(map(segment, values)))
        return ":".join(found)

    def ignores(self, sets: Row | None) -> bool:
        """Tell whether a change of just these columns touches nothing."""
        changed = {self.names.get(column, column) for column in sets or ()}
        return bool(changed) and changed <= self.rule.unless_only


def _segment(
    part: str, columns: Mapping[str, str]
) -> tuple[str, tuple[str | None, ...]]:
    pieces = list(Formatter().parse(part))
    text = "".join(
        literal.replace("%", "%%") + ("%s" if name else "")
        for literal, name, _, _ in pieces
    )
    return text, tuple(columns.get(name) for _, name, _, _ in pieces if name)


class Tables:
    """The tables of a service, by their names in lower case, and what they touch.

    Tables of one name in two schemas count as one.
    """

    def __init__(self, metadata: MetaData) -> None:
        self.views: frozenset[str] = frozenset()  # a read of one may be of any table
        self.triggered: frozenset[str] = frozenset()  # a change of one, of any, too
        self._metadata = metadata
        self._named: dict[str, Table] = {}
        self._rules: dict[str, list[_TableRule]] = {}
        self._reached: dict[tuple[Any, ...], frozenset[str]] = {}
        self._referring: dict[str, list[ForeignKeyConstraint]] = {}
        self._seen = (0, 0)

    def names(self) -> Set[str]:
        """Return the names of all tables."""
        return self._look().keys()

    def named(self, name: str) -> Table:
        """Return the table with one of these names."""
        return self._look()[name]

    def touched(self, change: Change) -> set[str]:
        """Return the namespaces that a change touches.

        They are those of what the database changes by itself, too, as foreign keys say.
        """
        self._look()
        found: set[str | None] = set()
        times: Counter[tuple[str, bool]] = Counter()
        pending = [change]
        while pending:
            change = pending.pop()
            name = change.table.name.lower()
            times[name, change.deletes] += 1
            if times[name, change.deletes] > 2:
                continue
            if times[name, change.deletes] == 2:  # by a circle: how far, nobody knows
                change = Change(change.table, [{}], None, change.deletes)
            found.add(table_namespace(name))
            found.update(self._by_rules(name, change))
            pending += self._following(change)
        return {name for name in found if name is not None}

    def reached(self, table: Table, row: Row) -> frozenset[str]:
        """Return the namespaces that each change of such a row is sure to touch.

        `row` has the values that are fixed, none of them NULL.
        """
        self._look()
        name = table.name.lower()
        known = name, *row.items()
        found = self._reached.get(known)
        if found is None:
            found = frozenset(
                owner_of(each.namespace(row) or "")
                for each in self._rules.get(name, ())
                if each.always and each.columns <= row.keys()
            )
            if len(self._reached) < _MOST_REACHED:
                self._reached[known] = found
        return found

    def _by_rules(self, name: str, change: Change) -> Iterator[str | None]:
        for each in self._rules.get(name, ()):
            if each.ignores(change.sets):
                continue
            if change.sets is None:
                yield each.namespace({})
                continue
            for row in change.rows:
                yield each.namespace(row)
                if not each.columns.isdisjoint(change.sets):
                    yield each.namespace({**row, **change.sets})

    def _following(self, change: Change) -> Iterator[Change]:
        """Yield what the database changes by itself after a change."""
        for key in self._referring.get(change.table.name.lower(), ()):
            links = [(link.parent.key, link.column.key) for link in key.elements]
            moved = change.sets is None or any(of in change.sets for _, of in links)
            action = key.ondelete if change.deletes else moved and key.onupdate
            if not action or action.upper() in ("NO ACTION", "RESTRICT"):
                continue
            rows = [
                {ours: row.get(of, UNKNOWN) for ours, of in links}
                for row in change.rows
            ]
            gone = change.deletes and action.upper() == "CASCADE"
            to = None if action.upper() == "SET NULL" else UNKNOWN
            sets = {} if gone else {ours: to for ours, _ in links}
            yield Change(key.table, rows, sets, gone)

    def _look(self) -> Mapping[str, Table]:
        """Take in what was declared since the last time."""
        seen = len(self._metadata.tables), sum(map(len, rules.values()))
        if seen != self._seen:
            self._seen = seen
            tables = self._metadata.tables.values()
            self._named = {table.name.lower(): table for table in tables}
            self._rules, self._referring, self._reached = {}, {}, {}
            for table in tables:
                for key in table.foreign_key_constraints:
                    to = key.referred_table.name.lower()
                    self._referring.setdefault(to, []).append(key)
            for model, of_model in rules.items():
                for rule in of_model:
                    self._take_in(inspect(model), rule)
        return self._named

    def _take_in(self, mapper: Mapper[Any], rule: Rule) -> None:
        names: dict[Table, dict[str, str]] = {}
        for below in mapper.self_and_descendants:
            for attribute in below.column_attrs:
                for column in attribute.columns:
                    if isinstance(column, Column) and isinstance(column.table, Table):
                        names.setdefault(column.table, {})[column.key] = attribute.key
        for table, attributes in names.items():
            using = [m for m in mapper.registry.mappers if table in m.tables]
            always = all(mapper in m.iterate_to_root() for m in using)
            columns = {name: column for column, name in attributes.items()}
            segments = tuple(_segment(p, columns) for p in rule.template.split(":"))
            needs = frozenset(column for _, of in segments for column in of)
            each = _TableRule(rule, segments, needs, attributes, always)
            self._rules.setdefault(table.name.lower(), []).append(each)


_watched: WeakKeyDictionary[MetaData, Tables] = WeakKeyDictionary()


def tables_of(metadata: MetaData) -> Tables:
    """Return the tables that are declared there."""
    return _watched.setdefault(metadata, Tables(metadata))


def all_tables() -> set[str]:
    """Return the namespaces of all tables whose changes are seen."""
    return {
        table_namespace(name) for tables in _watched.values() for name in tables.names()
    }
