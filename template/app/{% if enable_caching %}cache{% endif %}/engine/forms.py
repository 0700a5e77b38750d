"""How the values of a function are stored: one is only if it reads back equal."""

import dataclasses
import re
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, time, timezone
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, NamedTuple, get_type_hints

from fastapi import Response
from pydantic import BaseModel, TypeAdapter
from pydantic_core import TzInfo

from app.cache.engine.policy import CachePolicy

# A field of such a name, the hash of a password or a JWT: it stays where it is.
_SECRET = re.compile(
    rb'(?:password|secret|hash|(?:access|refresh|id|api)_?(?:token|key)|private_?key)":'
    rb"|password_hash|key_hash|\$argon2|\beyJ[\w-]+\.eyJ",
    re.IGNORECASE,
)
_WRITTEN = (float, complex, Decimal)  # -0.0 is 0.0, and 1.10 is 1.1, but not as written


class Unformed(Exception):
    """Nothing tells how a function's values are stored."""


class Form(NamedTuple):
    """How a function's values are stored."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


@lru_cache(maxsize=1024)
def form_of(function: Callable[..., Any], coder: Any) -> Form:
    """Return how the values are stored. Raises Unformed where nothing tells."""
    if coder is not None:
        return Form(coder.encode, coder.decode)
    try:
        kind = get_type_hints(function, include_extras=True).get("return", Response)
        adapter = TypeAdapter(kind)
    except Exception as error:  # a name or a type that only the owner knows
        raise Unformed(
            "it has no return type to be stored by; add one, or a coder, or put "
            f"@cached right below the route's decorator ({type(error).__name__})"
        ) from None
    return Form(
        partial(adapter.dump_json, by_alias=False, round_trip=True, warnings=False),
        partial(adapter.validate_json, by_alias=False, by_name=True),
    )


def encoded(policy: CachePolicy, value: Any) -> bytes | None:
    """Return what is stored of a value; None, with a warning, if that is not equal."""
    form = form_of(policy.function, policy.coder)
    kind = type(value).__qualname__
    why = (
        "does not read back as it was; return what its annotation says, or give "
        "@cached a coder that keeps it"
    )
    try:
        if hasattr(value, "__next__") or hasattr(value, "__anext__"):
            raise TypeError("it can be read once only")
        # Writing what is iterated over would use it up; a copy of that fails, or is it.
        body = form.encode(value if policy.coder else deepcopy(value))
        if _SECRET.search(body):
            why = "holds a password, a token, or a hash of one; return it without that"
        elif equal(value, form.decode(body)):
            return body
    except Exception as error:  # what a coder raises cannot be known, nor what it says
        why = (
            f"cannot be stored ({type(error).__name__}); return another, or give "
            "@cached a coder that keeps it"
        )
    policy.say(f"a value of type {kind} {why}")
    return None


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
