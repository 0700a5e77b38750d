"""Whether a value reads back as what it was."""

import dataclasses
from datetime import datetime, time, timezone
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic_core import TzInfo

_WRITTEN = (float, complex, Decimal)  # -0.0 is 0.0, and 1.10 is 1.1, but not as written


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values are equal, in value and in type, all the way down."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, datetime | time):
        return bool(one == other) and _same_zone(one, other)
    if isinstance(one, BaseModel):
        parts = "__dict__", "__pydantic_extra__", "__pydantic_private__"
        same = one.model_fields_set == other.model_fields_set
        return same and all(equal(getattr(one, n), getattr(other, n)) for n in parts)
    if not equal(_held(one), _held(other)):
        return False
    if isinstance(one, list | tuple):
        return _all_equal(one, other)
    if isinstance(one, dict):
        return _all_equal(list(one.items()), list(other.items()))
    if isinstance(one, set | frozenset):
        return _all_equal(sorted(one, key=repr), sorted(other, key=repr))
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(equal(getattr(one, n), getattr(other, n)) for n in names)
    if isinstance(one, _WRITTEN):
        return bool(one == other) and repr(one) == repr(other)
    # A row, from a coder that keeps those, has no equality but what it holds.
    kind: Any = type(one)
    is_row = kind.__eq__ is object.__eq__ and hasattr(one, "_sa_instance_state")
    return is_row or bool(one == other)


def _all_equal(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(equal, one, other))


def _same_zone(one: datetime | time, other: datetime | time) -> bool:
    """A zone with rules of its own, as for summer, comes back as a fixed offset."""
    fixed = one.tzinfo is None or isinstance(one.tzinfo, timezone | TzInfo)
    same = one.utcoffset() == other.utcoffset() and one.fold == other.fold
    return same and (fixed or type(one.tzinfo) is type(other.tzinfo))


def _held(value: object) -> dict[str, Any] | None:
    """Return what a value holds beside what its type knows of."""
    held = getattr(value, "__dict__", None)
    if held is None or isinstance(value, type):
        return None
    return {n: v for n, v in held.items() if n != "_sa_instance_state"}
