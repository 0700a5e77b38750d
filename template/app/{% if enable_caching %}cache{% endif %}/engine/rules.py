"""Which namespaces a change of which row touches: the rules of `touches`."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from app.cache.engine.entry import segment


@dataclass(frozen=True, slots=True)
class Rule:
    """A namespace with {attributes} of the model, and the changes it ignores."""

    template: str
    fields: frozenset[str]
    unless_only: frozenset[str]

    def namespace(self, values: Mapping[str, Any]) -> str:
        """Return the namespace for these values; where one is unknown, a wider one."""
        known = {
            name: segment(value)
            for name, value in values.items()
            if name in self.fields and value is not None
        }
        parts: list[str] = []
        for part in self.template.split(":"):
            try:
                parts.append(part.format_map(known))
            except KeyError:
                break
        return ":".join(parts)

    def ignores(self, changed: Collection[str]) -> bool:
        """Tell whether a change of just these attributes touches nothing."""
        return bool(self.unless_only) and self.unless_only.issuperset(changed)


_rules: dict[type, list[Rule]] = {}


def add_rule(
    model: type[Any], template: str, unless_only: Collection[str] = ()
) -> None:
    """Add a rule. Raises ValueError for an attribute that the model does not have."""
    known = set(inspect(model).columns.keys())
    fields = {name for _, name, _, _ in Formatter().parse(template) if name}
    if unknown := sorted((fields | set(unless_only)) - known):
        raise ValueError(f"{model.__name__} has no column {', '.join(unknown)}")
    rule = Rule(template, frozenset(fields), frozenset(unless_only))
    _rules.setdefault(model, []).append(rule)


def rules_of(mapper: Mapper[Any]) -> list[Rule]:
    """Return the rules of a model and of those that it inherits from."""
    return [rule for m in mapper.iterate_to_root() for rule in _rules.get(m.class_, ())]


def mapper_of(table: object) -> Mapper[Any] | None:
    """Return the mapper of the ruled model that is stored in a table."""
    mappers: list[Mapper[Any]] = [inspect(model) for model in _rules]
    return next((m for m in mappers if m.local_table is table), None)


def cascaded(
    mapper: Mapper[Any],
    values: Mapping[str, Any],
    above: frozenset[Mapper[Any]] = frozenset(),
) -> set[str]:
    """Return what the database touches by itself when it deletes a row.

    That is what the rows touch whose foreign keys cascade, or are set to NULL, and
    those that refer to them in turn.
    """
    found: set[str] = set()
    for dependent, pairs, deletes in _dependents(mapper):
        known = {ours: values[theirs] for ours, theirs in pairs if theirs in values}
        found.update(rule.namespace(known) for rule in rules_of(dependent))
        if deletes and dependent not in above:
            found |= cascaded(dependent, known, above | {mapper, dependent})
    return found


def _dependents(
    mapper: Mapper[Any],
) -> Iterator[tuple[Mapper[Any], list[tuple[str, str]], bool]]:
    """Yield each model that refers to this one, and the attributes that match.

    First the attribute of the referring model, then that of the one referred to. Last
    comes whether its rows are deleted with the row that they refer to.
    """
    for dependent in mapper.registry.mappers:
        for key in getattr(dependent.local_table, "foreign_key_constraints", ()):
            if key.ondelete and key.referred_table in mapper.tables:
                yield (
                    dependent,
                    [
                        (
                            dependent.get_property_by_column(link.parent).key,
                            mapper.get_property_by_column(link.column).key,
                        )
                        for link in key.elements
                    ],
                    key.ondelete.upper() == "CASCADE",
                )
